"""One rank of a test gang that shares forward passes in every layout, and clips that are split anew at every step.

The `layout_gang` fixture runs this file, with RANK, WORLD_SIZE and FOLDER set, in one process per rank.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from engine.denoiser import Batch, ClipInput, Denoiser
from engine.exchange import GroupLink, layer_bytes, step_bytes
from engine.exchange.cost import layer_plans
from engine.local_attention import LocalRule
from engine.model.dit import AudioVideoTransformer
from engine.model.stream import Modality, SegmentShape
from engine.rendezvous import Rendezvous
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.segments import Segment
from engine.weights import fill_random
from hhray.geometry import LatentGrid
from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout, possible_layouts

CPU = torch.device("cpu")
# two query heads read each of eight key heads: Ulysses on 1, 2, 4 and 8 ranks, and not on 3
SIZE = ModelSize("grouped", 4, 1, 48, 16, 8, 8, 16)
RULE = LocalRule(1, frozenset({0, 2}))
STEPS = 8
WEAK = Guidance(1.5, 1.5, audio=1.5)  # two passes a step; a stronger one multiplies differences of rounding


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clips(packed: bool) -> list[ClipInput]:
    """A clip of 9 frames; packed, with a shorter one that has a reference picture. Token counts suit no rank count."""
    first = ClipInput(LatentGrid(9, 4, 6), 5, normal(1, 4, 16), NoiseSource(2, CPU), negative_text=normal(3, 6, 16))
    if not packed:
        return [first]
    picture = Segment(SegmentShape(Modality.VIDEO, (1, 2, 2), (7, 0, 0)), normal(4, 4, 192))
    texts = normal(5, 3, 16), normal(6, 2, 16)
    second = ClipInput(LatentGrid(5, 4, 4), 2, texts[0], NoiseSource(7, CPU), conditions=(picture,))
    return [first, replace(second, negative_text=texts[1])]


def layouts(world_size: int, local: bool) -> Iterator[tuple[str, ParallelLayout | None]]:
    """Every layout of that many ranks by name, and the one that is chosen where none is given."""
    yield "chosen", None
    for layout in possible_layouts(world_size, SIZE):
        name = f"{layout.ulysses}x{layout.gather}"
        yield name, layout
        if local and layout.gather > 1:
            yield f"{name} without halo", replace(layout, halo=False)


def difference(batch: list[tuple[torch.Tensor, ...]], reference: list[tuple[torch.Tensor, ...]]) -> float:
    """The largest relative to the reference's largest number, over clips, video and audio."""
    pairs = [pair for item in zip(batch, reference, strict=True) for pair in zip(*item, strict=True)]
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs)


def forward_passes(model: AudioVideoTransformer, rank: int, world_size: int) -> dict[str, Any]:
    """One pass in every layout against the same on one rank: differences, bytes counted and bytes by formula."""
    facts = {}
    for local in (False, True):
        rule = RULE if local else None
        for packed in (False, True):
            alone = Denoiser(model, UniPCSampler(STEPS), local=rule)
            reference = alone.velocities(alone.start(clips(packed)))
            for name, layout in layouts(world_size, local):
                denoiser = Denoiser(model, UniPCSampler(STEPS), rank, world_size, local=rule, layout=layout)
                batch = denoiser.start(clips(packed))
                found, exchange, stream = (
                    denoiser.velocities(batch),
                    batch.branches[0].exchange,
                    batch.branches[0].stream,
                )
                plans = layer_plans(stream, SIZE, world_size, rule, layout)
                facts[f"{'local' if local else 'full'}, {'packed' if packed else 'one'}, {name}"] = {
                    "difference": difference(found, reference),
                    "counted": [*exchange.layer_bytes, batch.bytes_sent],
                    "by_formula": [layer_bytes(plan, SIZE, rank, 4) for plan in plans]
                    + [step_bytes(stream, SIZE, rank, world_size, 4, rule, layout)],
                }
    return facts


def splits(rank: int, world_size: int) -> list[tuple[GroupLink, ParallelLayout]]:
    """A split for every step, no two in a row of the same degree: of all ranks in turn with those of smaller blocks."""
    smaller = [(GroupLink(), ParallelLayout())]
    for block in (2, 4):
        if world_size > block and world_size % block == 0:
            # all ranks make all groups in the same order
            groups = [dist.new_group(list(range(first, first + block))) for first in range(0, world_size, block)]
            link = GroupLink(rank % block, block, groups[rank // block])
            smaller += [(link, layout) for layout in possible_layouts(block, SIZE)]
    whole = GroupLink(rank, world_size)
    turns = zip(cycle((whole, layout) for layout in possible_layouts(world_size, SIZE)), cycle(smaller), strict=False)
    return [split for _, turn in zip(range(STEPS // 2), turns, strict=False) for split in turn]


def denoise(model: AudioVideoTransformer, turns: list[tuple[GroupLink, ParallelLayout]]) -> tuple[Batch, int]:
    """All steps of a guided, packed batch, split as `turns` say, or not at all; with the bytes by formula."""
    denoiser, expected = Denoiser(model, UniPCSampler(STEPS, WEAK), local=RULE), 0
    batch = denoiser.start(clips(packed=True))
    for index in range(STEPS):
        if turns:
            link, layout = turns[index]
            denoiser.resplit(batch, link, layout)
            expected += sum(
                step_bytes(branch.stream, SIZE, link.rank, link.world_size, 4, RULE, layout)
                for branch in batch.branches
            )
        denoiser.step(batch, index)
    return batch, expected


def resplit_clip(model: AudioVideoTransformer, rank: int, world_size: int) -> dict[str, Any]:
    """The final latents of a batch that is split anew at every step, against those of one rank."""
    turns = splits(rank, world_size)
    (alone, _), (moved, expected) = denoise(model, []), denoise(model, turns)
    ours, theirs = (list(zip(batch.videos, batch.audios, strict=True)) for batch in (moved, alone))
    return {
        "degrees": [[link.world_size, layout.ulysses] for link, layout in turns],
        "difference": difference(ours, theirs),
        "counted": moved.bytes_sent,
        "by_formula": expected,
    }


def main(rank: int, world_size: int, folder: Path) -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rendezvous, port_file = Rendezvous(rank, world_size, CPU), folder / "port"
    if rank == 0:
        (folder / "port.new").write_text(str(rendezvous.open("127.0.0.1")))
        (folder / "port.new").rename(port_file)
    while not port_file.exists():
        time.sleep(0.02)
    rendezvous.join("127.0.0.1", int(port_file.read_text()), 60)
    model = AudioVideoTransformer(SIZE, torch.float32)
    fill_random(model, 1)
    facts = {"passes": forward_passes(model, rank, world_size), "resplit": resplit_clip(model, rank, world_size)}
    rendezvous.close()
    save_file({}, folder / f"rank{rank}.safetensors")
    (folder / f"rank{rank}.json").write_text(json.dumps(facts))


main(globals()["RANK"], globals()["WORLD_SIZE"], globals()["FOLDER"])
