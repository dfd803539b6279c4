"""`python -m engine.bench.rank FOLDER RANK`: one rank of a measured gang; started by engine.bench.gang, not by people.

Reads FOLDER/order.json and writes its figures into FOLDER/rankN.json, or one sentence into FOLDER/errorN.txt.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from engine.bench.arguments import Options
from engine.bench.denoising import Rank, measure_pass, num_steps
from engine.bench.device import rank_device
from engine.bench.figures import StageFigures
from engine.bench.progress import Told
from engine.bench.ways import ways
from engine.bench.workload import workload
from engine.rendezvous import Rendezvous
from hhray.errors import EngineFault, HhrayError
from hhray.geometry import Resolution

HOST = "127.0.0.1"
MEETING_SECONDS = 180.0  # imports and weights of all ranks, on a busy machine
ORDER, PORT = "order.json", "port"


def main(argv: list[str]) -> int:
    """Measure all passes as one rank; returns the exit code: 0, or 2 with a sentence in the error file."""
    folder, rank = Path(argv[0]), int(argv[1])
    try:
        found = _measure(folder, rank)
    except HhrayError as error:
        (folder / f"error{rank}.txt").write_text(error.message, encoding="utf-8")
        return 2
    rows = json.dumps([asdict(one) for one in found])
    (folder / f"rank{rank}.json").write_text(rows, encoding="utf-8")
    return 0


def _measure(folder: Path, rank: int) -> list[StageFigures]:
    order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    values = order["options"]
    options = Options(**{**values, "tier": Resolution(values["tier"])})
    torch.set_num_threads(order["threads"])
    device = rank_device(options.device, rank)
    work = workload(options)
    networks = ways(options, device, compared=False).networks
    rendezvous = Rendezvous(rank, options.ranks, device)
    place = Rank(rank, options.ranks, device)
    try:
        rendezvous.join(HOST, _port(rendezvous, folder, rank), MEETING_SECONDS)
        with Told(shown=rank == 0) as told:
            return [
                measure_pass(
                    networks,
                    work,
                    one,
                    place,
                    options.steps,
                    told.stage(f"{one.stage} on {options.ranks} ranks", num_steps(options.steps, 1)),
                    options.attention,
                )[0]
                for one in work.passes
            ]
    finally:
        rendezvous.close()


def _port(rendezvous: Rendezvous, folder: Path, rank: int) -> int:
    """Where the ranks meet; the first opens it and tells the others through the folder."""
    file = folder / PORT
    if rank == 0:
        port = rendezvous.open(HOST)
        new = folder / f"{PORT}.new"
        new.write_text(str(port), encoding="utf-8")
        new.rename(file)
        return port
    until = time.monotonic() + MEETING_SECONDS
    while not file.exists():
        if time.monotonic() > until:
            raise EngineFault(f"rank {rank} waited {MEETING_SECONDS:g} s for the first rank, which did not come")
        time.sleep(0.02)
    return int(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
