"""One rank of a test gang that decodes clips together: what rank 0 holds, and who decoded what.

The `decode_gang` fixture runs this file, with RANK, WORLD_SIZE and FOLDER set, in one process per rank.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from decode_cases import CASES, Decoders, decoding
from engine.exchange import GroupLink
from engine.rendezvous import Rendezvous


def decoded(name: str, rank: int, world_size: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Frames and sound of a case on rank 0; on every rank the windows it decoded and the bytes it sent."""
    link, decoders = GroupLink(rank, world_size), Decoders(CASES[name].codec())
    one = decoding(CASES[name], decoders, link)
    one.run()
    tensors = {}
    if one.frames is not None:
        tensors = {f"{name}.frames": one.frames.pixels, f"{name}.sound": one.sound.result()[0]}
    return tensors, {"windows": decoders.windows, "sounds": decoders.sounds, "sent": link.bytes_sent}


def main(rank: int, world_size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    rendezvous, port_file = Rendezvous(rank, world_size, torch.device("cpu")), folder / "port"
    if rank == 0:
        (folder / "port.new").write_text(str(rendezvous.open("127.0.0.1")))
        (folder / "port.new").rename(port_file)
    while not port_file.exists():
        time.sleep(0.02)
    rendezvous.join("127.0.0.1", int(port_file.read_text()), 60)
    tensors, facts = {}, {}
    for name in CASES:
        more, facts[name] = decoded(name, rank, world_size)
        tensors |= more
    rendezvous.close()
    save_file(tensors, folder / f"rank{rank}.safetensors")
    (folder / f"rank{rank}.json").write_text(json.dumps(facts))


main(globals()["RANK"], globals()["WORLD_SIZE"], globals()["FOLDER"])
