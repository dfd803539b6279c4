"""One rank of a test gang whose clips move between blocks, run beside each other, and run twice.

The `block_gang` fixture runs this file, with RANK, WORLD_SIZE and FOLDER set, in one process per rank.
"""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from engine.clip_batch import ClipBatch
from engine.clip_move import move_batch
from engine.conditioning import Prepared
from engine.denoiser import ClipInput, Denoiser
from engine.exchange import step_bytes
from engine.local_attention import LocalRule
from engine.model.dit import AudioVideoTransformer
from engine.model.stream import ItemShape, Modality, SegmentShape, TokenStream
from engine.paused_state import read_state, write_state
from engine.rendezvous import Rendezvous
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.segments import Segment
from engine.video_experts import keep_video_experts
from engine.weights import fill_random
from engine.worker import ClipJob, RankWorker, WorkerConfig
from hhray.blocks import Block, aligned_blocks
from hhray.errors import ConfigError, EngineFault, InvalidParameter
from hhray.geometry import ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_parts import Stage
from hhray.model_size import ModelSize, preset
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import Pass, ServedModel

CPU = torch.device("cpu")
SIZE = ModelSize("grouped", 4, 1, 48, 16, 8, 8, 16)
SMALL, LARGE = LatentGrid(5, 4, 4), LatentGrid(5, 6, 6)
PASSES = (Pass(Stage.BASE, SMALL, 4), Pass(Stage.SR_1080P, LARGE, 4))
SAMPLERS = {
    "noisy": {Stage.BASE: DistilledSampler(4), Stage.SR_1080P: UniPCSampler(4)},  # noise, then a solver with a memory
    "guided": {Stage.BASE: UniPCSampler(4, Guidance(1.5, 1.5, audio=1.5)), Stage.SR_1080P: UniPCSampler(4)},
}
RULES = {Stage.BASE: None, Stage.SR_1080P: LocalRule(1, frozenset({0, 2}))}
# of 8 steps: the block of each; the second pass begins on ranks that never saw the first one end
WAYS = {
    2: [Block(0, 1), Block(1, 1), Block(0, 2), Block(0, 2), Block(1, 1), Block(0, 2), Block(0, 1), Block(1, 1)],
    4: [*[Block(0, 2)] * 2, *[Block(2, 2)] * 3, *[Block(0, 4)] * 2, Block(1, 1)],
}
LAYOUTS = {Block(0, 4): ParallelLayout(2, 2), Block(2, 2): ParallelLayout(2, 1)}  # elsewhere the cheapest


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prepared(seed: int) -> Prepared:
    """A clip with a first frame for each pass, a reference picture and held sound for odd seeds."""
    frames = tuple(normal(seed + 1, 48, 1, one.grid.height, one.grid.width) for one in PASSES)
    picture = Segment(SegmentShape(Modality.VIDEO, (1, 2, 2), (6, 0, 0)), normal(seed + 2, 4, 192))
    text, negative = normal(seed + 3, 5, 16), normal(seed + 4, 3, 16)
    sound = normal(seed + 5, 6, 64) if seed % 2 else None
    noise = NoiseSource(seed, CPU)
    clip = ClipInput(SMALL, 6, text, noise, frames[0], sound, negative_text=negative, conditions=(picture,))
    return Prepared(ClipJob("t", "", seed, "1080P", "1:1", 3), clip, frames)


def batch_of(model: AudioVideoTransformer, samplers: str, rank: int = 0, world_size: int = 1) -> ClipBatch:
    def denoiser(stage: Stage) -> Denoiser:
        return Denoiser(model, SAMPLERS[samplers][stage], rank, world_size, local=RULES[stage])

    return ClipBatch([prepared(10), prepared(21)], PASSES, denoiser)


def difference(ours: ClipBatch, theirs: ClipBatch) -> float:
    """The largest relative to the reference's largest number, over clips, video and audio."""
    pairs = [pair for item in range(2) for pair in zip(ours.latents(item), theirs.latents(item), strict=True)]
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)


def moved_clip(model: AudioVideoTransformer, rendezvous: Rendezvous, samplers: str) -> dict[str, Any]:
    """All steps of a batch that goes from block to block, and of the same on this rank alone."""
    groups = rendezvous.groups
    batch, block = batch_of(model, samplers, groups.rank, groups.world_size), Block(0, groups.world_size)
    steps, sent = [], []
    for index, following in enumerate(WAYS[groups.world_size]):
        if following != block:
            sent.append(move_batch(batch, groups, block, following, LAYOUTS.get(following), CPU))
            block = following
        if groups.rank in block:
            batch.step(index)
            steps.append(index)
    alone = batch_of(model, samplers)
    for index in range(8):
        alone.step(index)
    last = groups.rank in block
    return {"steps": steps, "sent": sent, "difference": difference(batch, alone) if last else None}


def paused_clip(model: AudioVideoTransformer, rendezvous: Rendezvous, samplers: str, folder: Path) -> float | None:
    """As `moved_clip`, but paused before each change of block: whoever goes on begins anew, with the file alone."""
    groups = rendezvous.groups
    batch, block = batch_of(model, samplers, groups.rank, groups.world_size), Block(0, groups.world_size)
    for index, following in enumerate(WAYS[groups.world_size]):
        if following != block:
            path = folder / f"{samplers}{index}.paused"
            if groups.rank == block.first:
                write_state(path, batch.state)
            wait_for(path)
            batch, block = batch_of(model, samplers, groups.rank, groups.world_size), following
            if groups.rank in block:
                batch.go_on(groups.link(block), LAYOUTS.get(block), read_state(path, batch.state_form))
        if groups.rank in block:
            batch.step(index)
    alone = batch_of(model, samplers)
    for index in range(8):
        alone.step(index)
    return difference(batch, alone) if groups.rank in block else None


def video_ranks(model: AudioVideoTransformer, rank: int, world_size: int) -> dict[str, Any]:
    """A clip whose sound and text lie on the last rank, the others having video experts only. The model loses some."""
    found = {}
    for name, ranks in (("alone", 1), ("spared", world_size)):
        if ranks > 1 and rank < world_size - 1:
            keep_video_experts(model)
        denoiser = Denoiser(model, UniPCSampler(2), rank if ranks > 1 else 0, ranks)
        batch = denoiser.start([ClipInput(LatentGrid(9, 4, 6), 3, normal(1, 2, 16), NoiseSource(2, CPU))])
        for index in range(2):
            denoiser.step(batch, index)
        found[name] = torch.cat([batch.videos[0].flatten(), batch.audios[0].flatten()])
    difference = (found["spared"] - found["alone"]).abs().max() / found["alone"].abs().max()
    return {"difference": difference.item(), "weights": sum(weight.numel() for weight in model.parameters())}


def linked_ranks(rendezvous: Rendezvous) -> dict[str, Any]:
    """Whom the link of each of this rank's blocks reaches; and what is refused."""
    groups, reached, refused = rendezvous.groups, {}, []
    for block in aligned_blocks(groups.world_size):
        if groups.rank not in block:
            refused.append(refusal(lambda asked=block: groups.link(asked)))
        elif block.num_ranks > 1:
            count = block.num_ranks
            received = torch.zeros(count, dtype=torch.int64)
            groups.link(block).all_to_all(received, torch.full((count,), groups.rank), [1] * count, [1] * count)
            reached[str(block)] = received.tolist()
    return {"reached": reached, "refused": refused, "foreign": refusal(lambda: groups.check(Block(8, 8)))}


def refusal(call: Any) -> str:
    try:
        call()
    except (ConfigError, EngineFault, InvalidParameter) as error:
        return error.message
    return ""


def job(seed: int, deterministic: bool = False) -> ClipJob:
    return ClipJob("t", "a red fox in the snow", seed, "256P", "16:9", 3, deterministic=deterministic)


def served() -> ServedModel:
    return ServedModel(preset("pico"), native_share=Fraction(5, 14))  # few tokens


def latents_alone(folder: Path, seed: int) -> torch.Tensor:
    """The clip of a worker without peers."""
    worker = RankWorker(WorkerConfig(0, 1, served(), "cpu", 1, str(folder)))
    worker.join("", 0, 1)
    worker.load()
    worker.begin("alone", (job(seed),))
    worker.steps("alone", 0, 8)
    return worker.latents("alone", 0)[0]


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def two_at_once(worker: RankWorker, rank: int, folder: Path) -> dict[str, Any]:
    """Clip a on the first half of 4 ranks, b on the second; each half waits for the other in the middle of its clip.

    Then a is paused and goes on elsewhere, and b is decoded by a rank that is not the first.
    """
    name, block, seed = ("a", Block(0, 2), 1) if rank < 2 else ("b", Block(2, 2), 2)
    worker.begin(name, (job(seed),), block)
    if rank < 2:
        worker.steps("a", 0, 5)
        (folder / f"half{rank}").touch()
        wait_for(folder / "whole3")  # b ends while a stands still
        worker.steps("a", 5, 1)
    else:
        wait_for(folder / f"half{rank - 2}")
        worker.steps("b", 0, 8)
        (folder / f"whole{rank}").touch()
    facts: dict[str, Any] = {"away": refusal(lambda: worker.steps("b" if rank < 2 else "a", 6, 1))}
    return facts | paused_and_resumed(worker, rank, folder) | decoded_by_rank_1(worker, rank)


def paused_and_resumed(worker: RankWorker, rank: int, folder: Path) -> dict[str, Any]:
    """Clip a after 6 steps: rank 0 goes on alone from memory, ranks 2 and 3 from the file; 1 asks for another step."""
    path, jobs = folder / "a.paused", (job(1),)
    if rank < 2:
        worker.pause("a", str(path))
    wait_for(path)
    facts: dict[str, Any] = {"mode": oct(path.stat().st_mode & 0o777)}
    if rank == 1:
        return facts | {"early": refusal(lambda: worker.resume("a", jobs, Block(1, 1), str(path), 5))}
    worker.resume("a", jobs, Block(0, 1) if rank == 0 else Block(2, 2), str(path), 6)
    worker.steps("a", 6, 2)
    return facts | {"videos": {"a": worker.latents("a", 0)[0]}}


def decoded_by_rank_1(worker: RankWorker, rank: int) -> dict[str, Any]:
    """Clip b goes from ranks 2 and 3 to rank 1, which has nothing of it, and is a file there."""
    if rank == 0:
        return {}
    if rank == 1:
        worker.begin("b", (job(2),), Block(2, 2))
    sent = worker.move("b", Block(1, 1)).bytes_sent
    if rank > 1:
        return {"sent": sent, "left": refusal(lambda: worker.latents("b", 0))}
    video = worker.latents("b", 0)[0]
    worker.decode("b", 0)
    mux = worker.mux("b", 0, "b.mp4")
    return {"sent": sent, "frames": mux.num_frames if mux else None, "videos": {"b": video}}


def same_twice(worker: RankWorker) -> dict[str, Any]:
    """A deterministic clip on all ranks, made twice: its latents, the bytes sent, what is refused."""
    tensors, sent, refused = {}, [], []
    for name in ("once", "again"):
        worker.begin(name, (job(3, deterministic=True),))
        sent.append(worker.steps(name, 0, 8).bytes_exchanged)
        tensors |= dict(zip((f"{name}.video", f"{name}.audio"), worker.latents(name, 0), strict=True))
    refused.append(refusal(lambda: worker.move("again", Block(0, 1))))
    refused.append(refusal(lambda: worker.begin("packed", (job(3, deterministic=True), job(4)))))
    worker.begin("free", (job(5),))
    refused.append(refusal(lambda: worker.move("free", Block(0, 2), ParallelLayout(4, 1))))
    geometry = ClipGeometry(Resolution.P256, Ratio.R16_9, 3)
    stream = TokenStream((ItemShape(served().base_grid(geometry), geometry.audio_latents, 8),))
    return {"tensors": tensors, "sent": sent, "refused": refused, "stream": stream}


def worker_facts(rank: int, world_size: int, folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    layout = ParallelLayout(world_size // 2, 2)
    worker = RankWorker(WorkerConfig(rank, world_size, served(), "cpu", 1, str(folder), layout=layout))
    meet(worker.open_rendezvous, worker.join, rank, folder / "port2")
    worker.load()
    twice = same_twice(worker)
    tensors = twice.pop("tensors")
    stream = twice.pop("stream")
    twice["expected"] = 8 * step_bytes(stream, preset("pico"), rank, world_size, 4, layout=layout)
    facts: dict[str, Any] = {"twice": twice}
    if world_size == 4:
        facts["both"] = two_at_once(worker, rank, folder)
        for name, video in facts["both"].pop("videos", {}).items():
            alone = latents_alone(folder, {"a": 1, "b": 2}[name])
            facts["both"][f"difference of {name}"] = ((video - alone).abs().max() / alone.abs().max()).item()
    worker.close()
    return facts, tensors


def meet(open_at: Any, join: Any, rank: int, port_file: Path) -> None:
    if rank == 0:
        port_file.with_suffix(".new").write_text(str(open_at("127.0.0.1")))
        port_file.with_suffix(".new").rename(port_file)
    wait_for(port_file)
    join("127.0.0.1", int(port_file.read_text()), 60)


def main(rank: int, world_size: int, folder: Path) -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rendezvous = Rendezvous(rank, world_size, CPU)
    meet(rendezvous.open, rendezvous.join, rank, folder / "port")
    facts, tensors = {"links": linked_ranks(rendezvous)}, {}
    if world_size in WAYS:
        model = AudioVideoTransformer(SIZE, torch.float32)
        fill_random(model, 1)
        facts |= {samplers: moved_clip(model, rendezvous, samplers) for samplers in SAMPLERS}
        facts["paused"] = {name: paused_clip(model, rendezvous, name, folder) for name in SAMPLERS}
        facts["video"] = video_ranks(model, rank, world_size)
    rendezvous.close()
    if world_size in WAYS:
        more, tensors = worker_facts(rank, world_size, folder)
        facts |= more
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"rank{rank}.safetensors")
    (folder / f"rank{rank}.json").write_text(json.dumps(facts))


main(globals()["RANK"], globals()["WORLD_SIZE"], globals()["FOLDER"])
