"""One rank of a gang that makes clips of the embedded weights: RANK WORLD_SIZE FOLDER WEIGHTS ULYSSES GATHER.

ULYSSES x GATHER is the layout, 0 x 0 the one that moves the fewest bytes. FOLDER/prompts.json has a list of
[prompt, seed]; rank 0 writes FOLDER/clip-0.mp4 and so on, and their latents.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.messages import ClipJob, WorkerConfig
from engine.release import served_model
from engine.worker import RankWorker
from hhray.geometry import Resolution
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import DEFAULT_LADDER

JOIN_SECONDS = 120


def main(rank: int, world_size: int, folder: Path, weights: Path, layout: ParallelLayout | None) -> None:
    torch.set_grad_enabled(False)
    served = served_model(weights, weights.name, DEFAULT_LADDER)
    config = WorkerConfig(
        rank,
        world_size,
        served,
        "cpu",
        1,
        str(folder),
        str(weights),
        tiers=(Resolution.P256,),
        max_seconds=3,
        layout=layout,
    )
    worker = RankWorker(config)
    port_file = folder / "port"
    if rank == 0:
        (folder / "port.new").write_text(str(worker.open_rendezvous("127.0.0.1")))
        (folder / "port.new").rename(port_file)
    while not port_file.exists():
        time.sleep(0.02)
    worker.join("127.0.0.1", int(port_file.read_text()), JOIN_SECONDS)
    worker.load()
    for place, (prompt, seed) in enumerate(json.loads((folder / "prompts.json").read_text())):
        name = f"clip-{place}"
        worker.begin(name, (ClipJob(name, prompt, seed, "256P", "16:9", 3),))
        worker.steps(name, 0, served.base_steps)
        worker.decode(name, 0)
        if worker.mux(name, 0, f"{name}.mp4"):
            video, audio = worker.latents(name, 0)
            save_file({"video": video.contiguous(), "audio": audio.contiguous()}, folder / f"{name}.safetensors")
        worker.end(name)
    worker.close()


degrees = int(sys.argv[5]), int(sys.argv[6])
main(
    int(sys.argv[1]),
    int(sys.argv[2]),
    Path(sys.argv[3]),
    Path(sys.argv[4]),
    ParallelLayout(*degrees) if all(degrees) else None,
)
