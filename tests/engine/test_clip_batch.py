"""A batch through both passes on small grids: what super-resolution starts from, and what is delivered."""

from __future__ import annotations

import pytest
import torch

from engine.clip_batch import ClipBatch
from engine.components import Components
from engine.conditioning import Prepared
from engine.denoiser import ClipInput
from engine.messages import ClipJob
from engine.release import served_model
from engine.samplers.noise import NoiseSource
from hhray.errors import EngineFault
from hhray.geometry import LatentGrid, Resolution
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.served_model import DEFAULT_LADDER, Pass
from tiny_release import write_tiny_release

CPU = torch.device("cpu")
SMALL, LARGE = LatentGrid(3, 4, 6), LatentGrid(3, 8, 12)
PASSES = (Pass(Stage.BASE, SMALL, 8), Pass(Stage.SR_540P, LARGE, 5))


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "weights"
    write_tiny_release(folder, size=preset("pico"), parts=("distill", "540p_sr"), seed=4)
    served = served_model(folder, "", DEFAULT_LADDER)
    made = Components(served, folder, CPU, tiers=(Resolution.P480,), max_seconds=3)
    made.load(0)
    return made


def batch_of(components, passes, seeds=(1,), frame=None):
    frames = (None,) * len(passes) if frame is None else frame
    prepared = []
    for seed in seeds:
        text = components.text.encode("a fox")
        clip = ClipInput(SMALL, SMALL.decoded_frames, text, NoiseSource(seed, CPU), frames[0])
        prepared.append(Prepared(ClipJob("t", "a fox", seed, "480P", "1:1", 3), clip, frames))
    return ClipBatch(prepared, passes, lambda stage: components.denoiser(stage, 0, 1))


@torch.inference_mode()
def run(batch, steps=None):
    for index in range(batch.next_step, batch.num_steps if steps is None else steps):
        batch.step(index)
    return batch


def test_super_resolution_follows_the_base_and_keeps_its_sound(components):
    frame = tuple(torch.randn(48, 1, grid.height, grid.width) for grid in (SMALL, LARGE))
    base = run(batch_of(components, PASSES[:1], frame=frame))
    whole = run(batch_of(components, PASSES, frame=frame), 8)
    assert torch.equal(whole.latents(0)[0], base.latents(0)[0])
    assert whole.denoiser.model is components.transformer(Stage.BASE)
    run(whole)
    assert whole.denoiser.model is components.transformer(Stage.SR_540P)
    video, audio = whole.latents(0)
    assert tuple(video.shape) == (48, 3, 8, 12)
    assert torch.equal(video[:, :1], frame[1]), "the picture is held at the larger size too"
    assert torch.equal(audio, base.latents(0)[1]), "the clean base sound is what is decoded"


def test_steps_are_counted_over_all_passes(components):
    batch = batch_of(components, PASSES)
    assert batch.num_steps == 13
    with pytest.raises(EngineFault, match="step 1 was asked for, but 0 of 13 is next"):
        batch.step(1)
    run(batch)
    with pytest.raises(EngineFault, match="step 13 was asked for, but 13 of 13"):
        batch.step(13)
    with pytest.raises(EngineFault, match="no clip 1"):
        batch.latents(1)


def test_a_packed_batch_is_its_clips_alone_through_both_passes(components):
    packed = run(batch_of(components, PASSES, seeds=(1, 2)))
    for item, seed in enumerate((1, 2)):
        alone = run(batch_of(components, PASSES, seeds=(seed,)))
        for ours, theirs in zip(packed.latents(item), alone.latents(0), strict=True):
            assert (ours - theirs).norm() / theirs.norm() < 1e-4
