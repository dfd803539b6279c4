"""One rank of a test gang: runs the scenarios as RANK of WORLD_SIZE and writes into FOLDER what came out.

The `gang` fixture runs this file, with those three globals set, in one process per rank; they meet over gloo.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from engine.denoiser import Batch, ClipInput, Denoiser
from engine.exchange import step_bytes
from engine.local_attention import LocalRule
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.weights import build_model
from engine.worker import ClipJob, RankWorker, WorkerConfig
from hhray.geometry import LatentGrid
from hhray.model_size import preset
from hhray.served_model import ServedModel

CPU = torch.device("cpu")


def clip(seed: int, grid: LatentGrid, text_tokens: int, channels: int) -> ClipInput:
    """A small clip with random text features; its token count is odd, so slices are uneven."""
    text = torch.randn(text_tokens, channels, generator=torch.Generator().manual_seed(1000 + seed))
    return ClipInput(grid, grid.decoded_frames, text, NoiseSource(seed, CPU))


def denoise(denoiser: Denoiser, clips: list[ClipInput]) -> Batch:
    """All steps."""
    batch = denoiser.start(clips)
    for index in range(denoiser.sampler.num_steps):
        denoiser.step(batch, index)
    return batch


def tiny_clip(rank: int, world_size: int) -> tuple[dict[str, torch.Tensor], int, int]:
    """A small clip of the tiny network: latents, bytes sent, bytes expected."""
    tiny = preset("tiny")
    denoiser = Denoiser(build_model(tiny, CPU), DistilledSampler(), rank, world_size)
    batch = denoise(denoiser, [clip(1, LatentGrid(4, 8, 8), 10, tiny.text_channels)])
    tensors = {"tiny.video": batch.videos[0], "tiny.audio": batch.audios[0]}
    return tensors, batch.bytes_sent, 8 * step_bytes(batch.branches[0].stream, tiny, rank, world_size, 4)


def packed_clips(rank: int, world_size: int) -> tuple[dict[str, torch.Tensor], int, int]:
    """Two clips of different shapes in one batch of the pico network, then again with a fault on the last rank."""
    pico = preset("pico")
    denoiser = Denoiser(build_model(pico, CPU), DistilledSampler(), rank, world_size)

    def two_clips() -> list[ClipInput]:
        shapes = ((2, LatentGrid(2, 4, 6), 7), (3, LatentGrid(3, 6, 4), 12))
        return [clip(seed, grid, text_tokens, pico.text_channels) for seed, grid, text_tokens in shapes]

    packed = denoise(denoiser, two_clips())
    if rank == world_size - 1:
        denoiser.model.block.layers[2].register_forward_hook(lambda module, inputs, output: -output)
    broken = denoise(denoiser, two_clips())
    tensors = {}
    for item in range(2):
        tensors |= {f"packed{item}.video": packed.videos[item], f"packed{item}.audio": packed.audios[item]}
        tensors[f"broken{item}.video"] = broken.videos[item]
    return tensors, packed.bytes_sent, 8 * step_bytes(packed.branches[0].stream, pico, rank, world_size, 4)


def local_clip(rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """A clip whose layers 1 and 3 see one latent frame to either side."""
    pico = preset("pico")
    rule = LocalRule(1, frozenset({1, 3}))
    denoiser = Denoiser(build_model(pico, CPU), DistilledSampler(2), rank, world_size, local=rule)
    batch = denoise(denoiser, [clip(4, LatentGrid(5, 4, 6), 7, pico.text_channels)])
    return {"local.video": batch.videos[0], "local.audio": batch.audios[0]}


def whole_clip(worker: RankWorker) -> dict[str, Any]:
    """A 3 s clip through RankWorker; the facts of its reports."""
    worker.begin("b", (ClipJob("t", "a red fox in the snow", 7, "480P", "16:9", 3),))
    reports = [asdict(worker.steps("b", first, 4)) for first in (0, 4)]
    worker.decode("b", 0)
    mux = worker.mux("b", 0, "clip.mp4")
    return {"steps": reports, "mux": asdict(mux) if mux else None}


def main(rank: int, world_size: int, folder: Path) -> None:
    torch.set_grad_enabled(False)
    worker = RankWorker(WorkerConfig(rank, world_size, ServedModel(preset("pico")), "cpu", 1, str(folder)))
    port_file = folder / "port"
    if rank == 0:
        (folder / "port.new").write_text(str(worker.open_rendezvous("127.0.0.1")))
        (folder / "port.new").rename(port_file)
    while not port_file.exists():
        time.sleep(0.02)
    worker.join("127.0.0.1", int(port_file.read_text()), 60)
    load = asdict(worker.load())
    tensors, sent, expected = packed_clips(rank, world_size)
    tensors |= local_clip(rank, world_size)
    facts: dict[str, Any] = {"sent_bytes": [sent], "expected_bytes": [expected]}
    if world_size < 4:  # four ranks on two cores take their time
        more, sent, expected = tiny_clip(rank, world_size)
        tensors |= more
        facts["sent_bytes"].append(sent)
        facts["expected_bytes"].append(expected)
        facts |= whole_clip(worker)
        tensors["clip.video"], tensors["clip.audio"] = worker.latents("b", 0)
    worker.end("b")
    worker.close()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"rank{rank}.safetensors")
    (folder / f"rank{rank}.json").write_text(json.dumps(facts | {"load": load}))


main(globals()["RANK"], globals()["WORLD_SIZE"], globals()["FOLDER"])
