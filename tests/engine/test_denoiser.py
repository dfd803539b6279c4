"""A batch on one rank: packing, order of steps, held frames, healthy numbers."""

from __future__ import annotations

import pytest
import torch

from engine.activation_meter import ActivationMeter
from engine.denoiser import ClipInput, Denoiser
from engine.local_attention import LocalRule
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.weights import build_model
from hhray.errors import EngineFault
from hhray.geometry import LatentGrid
from hhray.model_size import preset

CPU = torch.device("cpu")
GRID = LatentGrid(3, 4, 6)


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser(build_model(preset("pico"), CPU), DistilledSampler())


def make_clip(seed, grid=GRID, text_tokens=5, first_frame=None):
    text = torch.randn(text_tokens, 32, generator=torch.Generator().manual_seed(seed))
    return ClipInput(grid, grid.decoded_frames, text, NoiseSource(seed, CPU), first_frame)


def denoise(denoiser, clips):
    batch = denoiser.start(clips)
    for index in range(8):
        denoiser.step(batch, index)
    return batch


def test_each_clip_of_a_packed_batch_equals_its_single_run(denoiser):
    def clips():
        return [make_clip(1), make_clip(2, LatentGrid(2, 6, 4), 9)]

    packed = denoise(denoiser, clips())
    for item, clip in enumerate(clips()):
        single = denoise(denoiser, [clip])
        for together, alone in ((packed.videos[item], single.videos[0]), (packed.audios[item], single.audios[0])):
            assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_clips_differ_by_seed_and_by_text(denoiser):
    first, second = denoise(denoiser, [make_clip(1)]), denoise(denoiser, [make_clip(2)])
    assert not torch.allclose(first.videos[0], second.videos[0], atol=0.1)
    same_noise = make_clip(1)
    other_text = ClipInput(same_noise.grid, same_noise.audio_latents, -same_noise.text, same_noise.draw)
    third = denoise(denoiser, [other_text])
    assert (first.videos[0] - third.videos[0]).abs().max() > 1e-3


@pytest.mark.parametrize("index", [1, 8])
def test_a_step_out_of_order_is_refused(denoiser, index):
    with pytest.raises(EngineFault, match=f"step {index} was asked for"):
        denoiser.step(denoiser.start([make_clip(1)]), index)


def test_a_step_beyond_the_last_is_refused(denoiser):
    with pytest.raises(EngineFault, match="step 8 was asked for"):
        denoiser.step(denoise(denoiser, [make_clip(1)]), 8)


def test_the_first_frame_is_held_before_and_after_every_step(denoiser):
    frame = torch.randn(48, 1, 4, 6, generator=torch.Generator().manual_seed(9))
    batch = denoiser.start([make_clip(1, first_frame=frame)])
    for index in range(8):
        assert torch.equal(batch.videos[0][:, :1], frame)
        denoiser.step(batch, index)
    assert torch.equal(batch.videos[0][:, :1], frame)
    free = denoise(denoiser, [make_clip(1)])
    assert (batch.videos[0][:, 1:] - free.videos[0][:, 1:]).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", [DistilledSampler(3), UniPCSampler(3, Guidance()), UniPCSampler(3)])
def test_given_audio_is_held_by_every_sampler_and_changes_the_video(denoiser, sampler):
    sampling = Denoiser(denoiser.model, sampler)
    audio = torch.randn(GRID.decoded_frames, 64, generator=torch.Generator().manual_seed(8))
    negative = torch.randn(4, 32, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(48, 3, 4, 6, generator=torch.Generator().manual_seed(6))
    results = []
    for given in (audio, -audio):
        text = make_clip(1).text
        source = NoiseSource(1, CPU)
        clip = ClipInput(GRID, len(given), text, source, audio=given, video=noise, negative_text=negative)
        batch = sampling.start([clip])
        for index in range(3):
            assert torch.equal(batch.audios[0], given)
            sampling.step(batch, index)
        assert torch.equal(batch.audios[0], given)
        results.append(batch.videos[0])
    assert (results[0] - results[1]).abs().max() > 1e-3
    assert torch.equal(noise, torch.randn(48, 3, 4, 6, generator=torch.Generator().manual_seed(6)))  # not overwritten


def test_guidance_leads_away_from_the_negative_text(denoiser):
    guided = Denoiser(denoiser.model, UniPCSampler(6, Guidance()))
    clip, negative = make_clip(1), make_clip(2, text_tokens=9).text
    batch = guided.start([ClipInput(GRID, clip.audio_latents, clip.text, clip.draw, negative_text=negative)])
    one, two = (
        denoiser.velocities(
            denoiser.start(
                [ClipInput(GRID, clip.audio_latents, text, clip.draw, audio=batch.audios[0], video=batch.videos[0])]
            )
        )[0]
        for text in (clip.text, negative)
    )
    for step, video_scale in ((0, 5), (5, 2)):
        batch.next_step = step
        video, audio = guided.velocities(batch)[0]
        torch.testing.assert_close(video, two[0] + video_scale * (one[0] - two[0]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(audio, two[1] + 5 * (one[1] - two[1]), rtol=1e-4, atol=1e-4)


def test_guidance_without_a_negative_text_is_refused(denoiser):
    with pytest.raises(EngineFault, match="negative text"):
        Denoiser(denoiser.model, UniPCSampler(6, Guidance())).start([make_clip(1)])


def test_noise_is_drawn_in_the_published_order(denoiser):
    clip, drawn = make_clip(1), []

    def draw(shape):
        drawn.append(len(shape))
        return clip.draw(shape)

    sampling = Denoiser(denoiser.model, DistilledSampler(2))
    for held in (None, torch.zeros(clip.audio_latents, 64)):
        batch = sampling.start([ClipInput(GRID, clip.audio_latents, clip.text, draw, audio=held)])
        for index in range(2):
            sampling.step(batch, index)
    audio, video = 2, 4  # dimensions
    free, given = [audio, video, *[video, audio] * 2], [video, *[video, audio] * 2]
    assert drawn == free + given


def test_local_layers_are_a_matter_of_the_call_and_not_of_the_weights(denoiser):
    def velocity(rule):
        local = Denoiser(denoiser.model, DistilledSampler(), local=rule)
        return local.velocities(local.start([make_clip(1)]))[0][0]

    whole = velocity(None)
    assert torch.equal(velocity(LocalRule(2, frozenset(range(5)))), whole)  # three frames: the window holds all
    assert torch.equal(velocity(LocalRule(0, frozenset())), whole)
    one, two = velocity(LocalRule(0, frozenset({1}))), velocity(LocalRule(0, frozenset({1, 2})))
    assert (one - whole).abs().max() > 1e-4
    assert (two - one).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["pico", "tiny"])
def test_random_weights_keep_activations_and_velocities_healthy(name):
    size = preset(name)
    model = build_model(size, CPU)
    residuals = []
    for layer in model.block.layers:
        layer.register_forward_hook(lambda module, inputs, output: residuals.append(output.std().item()))
    grid = LatentGrid(4, 8, 8)
    text = torch.randn(10, size.text_channels, generator=torch.Generator().manual_seed(0))
    denoiser = Denoiser(model, DistilledSampler())
    batch = denoiser.start([ClipInput(grid, grid.decoded_frames, text, NoiseSource(0, CPU))])
    ((video, audio),) = denoiser.velocities(batch)
    assert len(residuals) == size.num_layers
    assert min(residuals) > 0.3
    assert max(residuals) < 10
    assert 0.5 < video.std() < 2
    assert 0.5 < audio.std() < 2


def test_the_meter_sees_the_largest_sum_of_living_tensors():
    weight = torch.ones(1000)
    with ActivationMeter([weight]) as meter:
        first = torch.ones(250)  # 1,000 bytes
        second = first + 1  # 2,000
        del first  # 1,000
        third = torch.cat([second, second])  # 3,000
        view = third.view(2, 250)
        del second, third
        weight.add_(view.sum())  # 2,000 and a number
    assert meter.peak_bytes == 3000


def test_clean_predictions_are_turned_into_velocities(denoiser):
    """A network that says x - sigma v makes the same clip as one that says v."""

    class Clean(torch.nn.Module):
        def __init__(self, model, sampler):
            super().__init__()
            self.model, self.adapter, self.size, self.sampler, self.index = model, model.adapter, model.size, sampler, 0

        def forward(self, tokens, runs, rotary, attentions):
            said = self.model(tokens, runs, rotary, attentions)
            # tokens go in by channel, then place, and come out by place, then channel
            video = tokens[0].unflatten(1, (48, 4)).transpose(1, 2).flatten(1)
            sigma = self.sampler.sigmas[self.index]
            self.index += 1
            return [video - sigma * said[0], tokens[1] - sigma * said[1]]

    clean = Denoiser(Clean(denoiser.model, denoiser.sampler), denoiser.sampler, predicts_clean=True)
    one, other = denoise(denoiser, [make_clip(3)]), denoise(clean, [make_clip(3)])
    torch.testing.assert_close(one.videos[0], other.videos[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.audios[0], other.audios[0], atol=1e-4, rtol=1e-4)
