"""Training of the embedded transformer: what it is taught, and that it learns."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine.checkpoint.names import VIDEO_FILE
from engine.denoiser import ClipInput, Denoiser
from engine.embedded import WEIGHTS
from engine.embedded.codecs.fields import NUM_USED, OFFSETS
from engine.embedded.meaning import Wish, figure_name, meaning
from engine.embedded.training.distil import LEVELS, Distiller, Pair, distil, given
from engine.embedded.training.examples import ExampleMaker, Pool
from engine.embedded.training.flow import (
    MOTION_WEIGHT,
    from_tokens,
    levels,
    noised,
    spare_rows,
    squared_errors,
    to_tokens,
)
from engine.embedded.training.lessons import begun, editing, plain, referring
from engine.embedded.training.packed import PackedBatch, PackedNetwork
from engine.embedded.training.plan import Course, Plan
from engine.embedded.training.start import SIZE, new_model
from engine.embedded.training.transformer import Teacher, train
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.scene import Motion, Scene, Thing
from engine.model.patch import patchify, unpatchify
from engine.samplers.distilled import DistilledSampler
from engine.segments import Segment, source_segment
from hhray.errors import ConfigError
from hhray.geometry import LatentGrid
from hhray.model_size import ModelSize

SMALL = ModelSize("small", 3, 1, 128, 8, 8, 16, 64)
LATENTS = 3
BALL = Thing("ball", "red", Motion.RIGHT, start=0.25, across=0.9)


@pytest.fixture(scope="module")
def examples():
    maker, rng = ExampleMaker(), np.random.default_rng(1)
    singles = [maker.make(Scene((thing,)), LATENTS) for thing in (BALL, Thing("star", "blue", Motion.BOUNCE))]
    return [*singles, *(maker.draw(rng, LATENTS) for _ in range(4))]


def speaking(seed):
    """A network that says something: a new one says 0."""
    model = new_model(seed, SMALL, torch.float32)
    for linear in (model.final_linear_video, model.final_linear_audio):
        torch.nn.init.normal_(linear.weight, 0, 0.1, generator=torch.Generator().manual_seed(seed))
    return model


def test_tokens_are_those_the_engine_makes(examples):
    video = torch.from_numpy(np.stack([one.video for one in examples]))
    tokens = to_tokens(video)
    torch.testing.assert_close(tokens[3], patchify(video[3]))
    torch.testing.assert_close(from_tokens(tokens, video)[3], unpatchify(tokens[3], LatentGrid(*video.shape[2:])))


def test_a_packed_batch_has_the_velocities_the_engine_gives_each_clip(examples):
    model = speaking(1)
    lesson = editing(examples[:2], NATIVE, np.random.default_rng(2), torch.Generator().manual_seed(2))
    packed = PackedNetwork(model)(lesson.batch)
    grid, denoiser = lesson.batch.shape.grid, Denoiser(model, DistilledSampler())
    for index in range(2):
        source = lesson.batch.parts[3][index]
        shape = lesson.batch.shape.conditions[0]
        clip = ClipInput(
            grid,
            lesson.batch.shape.audio_latents,
            lesson.batch.parts[2][index],
            torch.randn,
            audio=lesson.noised.audio[index],
            video=lesson.noised.video[index],
            conditions=(Segment(shape, source),),
        )
        video, audio = denoiser.velocities(denoiser.start([clip]))[0]
        torch.testing.assert_close(from_tokens(packed[0], lesson.noised.video)[index], video, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(packed[1][index], audio, atol=2e-5, rtol=1e-4)


def test_noised_latents_lie_between_clean_ones_and_noise(examples):
    video, audio = (torch.from_numpy(np.stack([getattr(one, name) for one in examples])) for name in ("video", "audio"))
    sigma = levels(len(examples), torch.Generator().manual_seed(4))
    assert ((sigma > 0) & (sigma < 1)).all()
    assert (sigma > 0.6).sum() >= 4  # the schedule's shift: most levels are noisy
    one = noised(video, audio, sigma, torch.Generator().manual_seed(5))
    level = sigma[:, None, None, None, None]
    assert torch.equal(one.clean_video, video)
    assert torch.equal(one.clean_audio, audio)
    noise = (one.video - (1 - level) * video) / level
    assert noise.std((1, 2, 3, 4)).tolist() == pytest.approx([1] * 6, abs=0.05)
    heard = (one.audio - (1 - sigma[:, None, None]) * audio) / sigma[:, None, None]
    assert heard.std().item() == pytest.approx(1, abs=0.1)


def test_how_a_centre_moves_within_a_latent_counts_more_than_where_it_is():
    clean = torch.randn(1, 48, 2, 2, 2, generator=torch.Generator().manual_seed(6))
    elsewhere, moved, spare = clean.clone(), clean.clone(), clean.clone()
    elsewhere[:, OFFSETS] += 0.5
    moved[:, OFFSETS.start + 6] += 0.5  # sideways, in the last of the four frames
    spare[:, NUM_USED:] += 0.5
    each = float(clean[:, :1].numel()) * 0.25  # what a channel that is 0.5 off adds up to
    assert float(squared_errors(elsewhere, clean).sum()) == pytest.approx(8 * each, rel=1e-4)
    # a quarter of it moves the mean: (3/4)^2 + 3 (1/4)^2 = 3/4 are motion
    assert float(squared_errors(moved, clean).sum()) == pytest.approx((1 + 0.75 * MOTION_WEIGHT) * each, rel=1e-4)
    assert float(squared_errors(spare, clean).sum()) == 0


def test_a_given_first_frame_is_clean_and_not_to_be_learned(examples):
    lesson = begun(examples, np.random.default_rng(6), torch.Generator().manual_seed(6))
    np.testing.assert_array_equal(lesson.video_weight.flatten(1), [[0, 1, 1]] * len(examples))
    clean = to_tokens(torch.from_numpy(np.stack([one.video[:, :1] for one in examples])))
    wrong = (lesson.batch.parts[0][:, : clean.shape[1]] - clean).abs().mean((1, 2))
    assert 0.02 < wrong.min() <= wrong.max() < 0.15


def test_given_sound_is_clean_and_not_to_be_learned(examples):
    many = [one for one in examples for _ in range(12)]
    lesson = plain(many, np.random.default_rng(6), torch.Generator().manual_seed(6))
    held = lesson.audio_weight[:, 0, 0] == 0
    assert 0 < held.sum() < len(many) / 2
    torch.testing.assert_close(lesson.batch.parts[1][held], torch.from_numpy(np.stack([e.audio for e in many]))[held])


def test_references_and_sources_lie_where_the_engine_puts_them(examples):
    edited = editing(examples[:2], NATIVE, np.random.default_rng(7), torch.Generator().manual_seed(7))
    video = torch.from_numpy(examples[0].video)
    assert edited.batch.shape.conditions == (source_segment(video).shape,)
    shown = referring(examples[:2], np.random.default_rng(8), torch.Generator().manual_seed(8))
    names = [part for part in shown.batch.parts[3:] if part.shape[1] == 1]
    np.testing.assert_array_equal(names[0][0].numpy(), figure_name(1)[:1])
    times = [segment.offset[0] for segment in shown.batch.shape.conditions]
    assert times[:2] == [LATENTS + 2, LATENTS + 2]
    features = shown.batch.parts[2][0].numpy()
    assert (features != meaning(Wish(examples[0].scene))).any()  # what the picture shows is not said


def test_the_pool_gives_old_and_new_scenes():
    pool, rng = Pool(ExampleMaker(), 2, 6), np.random.default_rng(9)
    assert len({id(one) for _ in range(4) for one in pool.take(rng, 1, 0)}) == 4
    assert len({id(one) for _ in range(12) for one in pool.take(rng, 1, 0)}) < 12


def test_it_learns_and_goes_on_where_it_stopped(tmp_path):
    plan = Plan((Course(14, 4, 2), Course(3, 2, 2, begun=0.4, referring=0.3, editing=0.3)), rate=4e-3)
    train(Teacher(plan, 1, size=SMALL), tmp_path, float("inf"))
    losses = [json.loads(line)["video"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert len(losses) == 17
    assert np.mean(losses[9:14]) < 0.85 * np.mean(losses[:3])
    if (WEIGHTS / VIDEO_FILE).exists():  # without a codec there is nothing to draw with
        with Image.open(tmp_path / "pictures.png") as sheet:
            assert sheet.size == (6 * 160, 12 * 96)
    again = Teacher(plan, 1, size=SMALL)
    again.state.load(tmp_path)
    assert again.state.step == 17
    assert (again.model.final_linear_video.weight[spare_rows()] == 0).all()
    with pytest.raises(ConfigError, match="another network"):
        Teacher(plan, 1, size=SIZE).state.load(tmp_path)
    other = Teacher(plan, 2, size=SMALL)
    other.state.begin(load_file(tmp_path / "teacher.safetensors"))
    name = "adapter.audio_embedder.bias"
    assert torch.equal(other.state.masters[name], again.state.average[name])
    with pytest.raises(ConfigError, match="another network"):
        Teacher(plan, 1, size=SIZE).state.begin(load_file(tmp_path / "teacher.safetensors"))


def test_a_student_moves_towards_what_its_teacher_leads_to(tmp_path):
    weights = dict(speaking(2).to(torch.bfloat16).named_parameters())
    begun_with = {name: one.detach().float() for name, one in weights.items()}
    course = Course(3, 2, 2, begun=0.4, referring=0.3, editing=0.3)
    distiller = Distiller(begun_with, size=SMALL, course=course)
    distil(distiller, tmp_path, float("inf"))
    seen = [json.loads(line) for line in (tmp_path / "distilled.jsonl").read_text().splitlines()]
    assert [one["step"] for one in seen] == [1, 2, 3]
    assert all(one["video"] > 0 for one in seen)
    teacher, student = (dict(model.named_parameters()) for model in (distiller.teacher, distiller.student))
    assert all(torch.equal(teacher[name], weights[name]) for name in weights)
    assert any(not torch.equal(student[name], weights[name]) for name in weights)
    assert len(LEVELS) == 9
    again = Distiller(begun_with, size=SMALL, course=course)
    again.take_up(tmp_path)
    assert again.state.step == 3
    assert torch.equal(again.averaged.adapter.audio_embedder.bias, distiller.averaged.adapter.audio_embedder.bias)


def test_what_is_given_stays_as_it_is_while_a_student_samples(examples):
    lesson = begun(examples[:2], np.random.default_rng(1), torch.Generator().manual_seed(1))
    noise = Pair(torch.randn(lesson.noised.video.shape), torch.randn(lesson.noised.audio.shape))
    kept = given(lesson, noise)
    assert torch.equal(kept.video[:, :, :1], lesson.noised.video[:, :, :1])
    assert torch.equal(kept.video[:, :, 1:], noise.video[:, :, 1:])
    assert torch.equal(to_tokens(kept.video)[:, :15], lesson.batch.parts[0][:, :15])
    assert torch.equal(kept.audio, noise.audio)


def test_the_first_layer_tells_where_a_token_is_and_what_is_asked_for(examples):
    model = new_model(3, SMALL, torch.float32)
    seen = {}
    model.block.layers[0].attention.register_forward_hook(lambda module, given, out: seen.update(added=out))
    shape = plain(examples[:1], np.random.default_rng(1), torch.Generator().manual_seed(1)).batch.shape
    network = PackedNetwork(model)

    def added(wish, seed):
        noise = torch.Generator().manual_seed(seed)
        parts = torch.randn(1, LATENTS * 15, 192, generator=noise), torch.randn(1, 9, 64, generator=noise)
        network(PackedBatch(shape, (*parts, torch.from_numpy(meaning(wish))[None])))
        return seen["added"][: LATENTS * 15].unflatten(0, (LATENTS, 15))

    right, left = (added(Wish(Scene((replace(BALL, motion=motion),))), 1) for motion in (Motion.RIGHT, Motion.LEFT))
    assert (right - left).norm(dim=-1).mean() > 1  # what is asked for
    mean = torch.stack([added(Wish(Scene((BALL,))), seed) for seed in range(6)]).mean(0)
    assert (mean[0] - mean[2]).mean(0).norm() > 0.1  # when
    assert (mean[:, 0] - mean[:, 4]).mean(0).norm() > 1  # where: the ends of a row
