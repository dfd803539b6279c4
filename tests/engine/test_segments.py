"""What a clip is conditioned on, as clean segments of its stream."""

from __future__ import annotations

import pytest
import torch

from engine.codecs.bytewise import BytewiseTextEncoder
from engine.denoiser import ClipInput, Denoiser
from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle, item_coordinates
from engine.model.stream import ItemShape, Modality, SegmentShape
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import UniPCSampler
from engine.segments import SOURCE_OFFSET, reference_segments, source_segment
from engine.weights import build_model
from hhray.geometry import LatentGrid
from hhray.model_size import preset

CPU = torch.device("cpu")
GRID = LatentGrid(3, 4, 6)
PICO = preset("pico")
ENCODER = BytewiseTextEncoder(PICO.text_channels)


@pytest.fixture(scope="module")
def model():
    return build_model(PICO, CPU)


def picture(seed, height=2, width=4, frames=1):
    return torch.randn(48, frames, height, width, generator=torch.Generator().manual_seed(seed))


def clip(conditions=(), **given):
    text = ENCODER.encode("a fox")
    return ClipInput(GRID, GRID.decoded_frames, text, NoiseSource(3, CPU), conditions=tuple(conditions), **given)


def made(model, one, sampler=None, **options):
    denoiser = Denoiser(model, sampler or DistilledSampler(2), **options)
    with torch.inference_mode():
        batch = denoiser.start([one])
        for index in range(denoiser.sampler.num_steps):
            denoiser.step(batch, index)
    return batch.videos[0], batch.audios[0]


def test_references_and_sources_stand_behind_the_clip():
    marker, tokens = reference_segments(picture(1), 1, GRID.frames, ENCODER)
    source = source_segment(picture(2, 4, 6, 3))
    shape = ItemShape(GRID, 9, 2, (marker.shape, tokens.shape, source.shape))
    assert [segment.num_tokens for segment in shape.segments] == [18, 9, 2, 1, 2, 18]
    rows = item_coordinates(shape, CoordinateStyle.V2)
    assert rows[29].tolist() == [3 + 2 + 1, -1, -1, 1, 1, 2, 1, 1, 2]  # the marker, in its picture's grid
    assert rows[30:32].tolist() == [[6, 0, 0, 1, 1, 2, 1, 1, 2], [6, 0, 1, 1, 1, 2, 1, 1, 2]]
    assert rows[32].tolist() == [SOURCE_OFFSET, 0, 0, 3, 2, 3, 3, 2, 3]
    torch.testing.assert_close(marker.payload[0], ENCODER.encode("<Figure 2>").mean(0))


def test_a_condition_with_an_output_is_refused():
    noisy = SegmentShape(Modality.VIDEO, (1, 1, 1), output=True)
    with pytest.raises(ValueError, match="has no output"):
        ItemShape(GRID, 9, 2, (noisy,))


def test_every_reference_counts_and_so_does_its_place(model):
    alone, _ = made(model, clip())
    first = reference_segments(picture(1), 0, GRID.frames, ENCODER)
    second = reference_segments(picture(2), 1, GRID.frames, ENCODER)
    swapped = [*reference_segments(picture(2), 0, GRID.frames, ENCODER)]
    swapped += reference_segments(picture(1), 1, GRID.frames, ENCODER)
    videos = [made(model, clip(given))[0] for given in (first, (*first, *second), swapped)]
    assert all(video.shape == alone.shape for video in videos)
    for one, other in ((alone, videos[0]), (videos[0], videos[1]), (videos[1], videos[2])):
        assert (one - other).norm() / one.norm() > 1e-3


def test_a_packed_clip_with_references_is_the_clip_alone(model):
    conditioned = clip(reference_segments(picture(1), 0, GRID.frames, ENCODER))
    denoiser = Denoiser(model, DistilledSampler(2))
    with torch.inference_mode():
        batch = denoiser.start([clip(), conditioned, clip((source_segment(picture(5, 4, 6, 3)),))])
        velocities = denoiser.velocities(batch)
        alone = denoiser.velocities(denoiser.start([clip(conditioned.conditions)]))
    for packed, single in zip(velocities[1], alone[0], strict=True):
        torch.testing.assert_close(packed, single, rtol=1e-4, atol=1e-5)


def test_local_layers_see_references_from_every_frame(model):
    long = LatentGrid(5, 4, 6)
    text, everywhere = ENCODER.encode("a fox"), frozenset(range(5))

    def last_frame(conditions):
        one = ClipInput(long, long.decoded_frames, text, NoiseSource(3, CPU), conditions=tuple(conditions))
        denoiser = Denoiser(model, DistilledSampler(2), local=LocalRule(0, everywhere))
        with torch.inference_mode():
            return denoiser.velocities(denoiser.start([one]))[0][0][:, -1]

    with_reference = last_frame(reference_segments(picture(1), 0, long.frames, ENCODER))
    assert (with_reference - last_frame(())).norm() > 1e-3 * with_reference.norm()


@pytest.mark.parametrize("sampler", [DistilledSampler(8), UniPCSampler(8)], ids=["distilled", "unipc"])
def test_an_edit_starts_as_its_noised_source(model, sampler):
    source = picture(7, 4, 6, 3)
    denoiser = Denoiser(model, sampler)
    with torch.inference_mode():
        batch = denoiser.start([clip(source=source, source_steps=4)])
        for index in range(4):
            denoiser.step(batch, index)
        sigma = sampler.sigmas[4]
        noise = (batch.videos[0] - (1 - sigma) * source) / sigma
        assert abs(noise.mean()) < 0.1
        assert abs(noise.std() - 1) < 0.1
        assert abs(torch.corrcoef(torch.stack([noise.flatten(), source.flatten()]))[0, 1]) < 0.1
        for index in range(4, 8):
            denoiser.step(batch, index)
    free, _ = made(model, clip(), sampler)
    for other in (free, source):  # something of the source is left, and it was changed
        assert (batch.videos[0] - other).norm() / other.norm() > 0.01


def test_all_steps_from_the_source_give_it_back(model):
    source = picture(7, 4, 6, 3)
    video, audio = made(model, clip(source=source, source_steps=2))
    torch.testing.assert_close(video, source, rtol=1e-4, atol=1e-5)
    assert audio.std() > 0.1
