"""Noise levels and the samplers."""

from __future__ import annotations

import math

import pytest
import torch

from engine.samplers.base import sigma_grid
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.super_resolution import enlarged, signal_levels, super_resolution_input
from hhray.geometry import LatentGrid

CPU = torch.device("cpu")
EIGHT = [0.999800, 0.972006, 0.937265, 0.892602, 0.833055, 0.749700, 0.624687, 0.416389, 0.0]
FIVE = [0.999800, 0.952154, 0.882093, 0.768935, 0.555247, 0.0]


def no_noise(shape):
    raise AssertionError("this solver draws no noise")


@pytest.mark.parametrize("levels", [EIGHT, FIVE])
def test_noise_levels_are_the_published_ones(levels):
    assert sigma_grid(len(levels) - 1) == pytest.approx(levels, abs=6e-7)


def test_a_perfect_velocity_gives_the_clean_latent_in_the_last_step():
    clean, noise = torch.full((3,), 2.0), torch.tensor([1.0, -1.0, 0.5])
    sampler = DistilledSampler()
    latent = sampler.sigmas[7] * noise + (1 - sampler.sigmas[7]) * clean
    result = sampler.step(7, latent, noise - clean, lambda shape: torch.full(shape, 9.0))
    torch.testing.assert_close(result, clean)


def test_a_step_noises_the_prediction_afresh_to_the_next_level():
    clean, noise, fresh = torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([-3.0])
    sampler = DistilledSampler()
    latent = sampler.sigmas[2] * noise + (1 - sampler.sigmas[2]) * clean
    result = sampler.step(2, latent, noise - clean, lambda shape: fresh)
    torch.testing.assert_close(result, sampler.sigmas[3] * fresh + (1 - sampler.sigmas[3]) * clean)


def solve_gaussian(num_steps, spread):
    """UniPC on data of N(0, spread^2), whose velocity is known: its error from the start at 1."""
    sampler = UniPCSampler(num_steps)
    solver, latent = sampler.solver(), torch.ones(1, dtype=torch.float64)
    exact = spread / math.hypot((1 - sampler.sigmas[0]) * spread, sampler.sigmas[0])
    for index, sigma in enumerate(sampler.sigmas[:-1]):
        variance = (1 - sigma) ** 2 * spread**2 + sigma**2
        velocity = (sigma - (1 - sigma) * spread**2) / variance * latent
        latent = solver.step(index, latent, velocity, no_noise)
    return abs(latent.item() - exact)


def test_unipc_converges_on_a_linear_flow_faster_than_first_order():
    coarse, fine = solve_gaussian(16, 0.5), solve_gaussian(64, 0.5)
    assert fine < 2e-3
    assert fine < coarse / 6  # four times the steps: a first-order method gains a factor of 4


def test_each_latent_has_a_solver_of_its_own():
    sampler = UniPCSampler(5)
    first, second = sampler.solver(), sampler.solver()
    latent, velocity = torch.ones(2), torch.full((2,), 0.5)
    following = first.step(0, latent, velocity, no_noise)
    first.step(1, following, -velocity, no_noise)
    assert torch.equal(second.step(0, latent, velocity, no_noise), following)


def test_video_guidance_falls_after_the_half_of_the_time_and_audio_guidance_stays():
    sampler = UniPCSampler(32, Guidance())
    scales = [sampler.guidance(index) for index in range(32)]
    assert scales == [(5.0, 5.0)] * 27 + [(2.0, 5.0)] * 5
    assert UniPCSampler(6, Guidance()).guidance(5) == (2.0, 5.0)  # its time is 499
    assert UniPCSampler(5).guidance(0) is None
    assert DistilledSampler().guidance(0) is None


def test_the_noise_of_super_resolution_leaves_the_published_share_of_signal():
    levels = signal_levels()
    assert levels[220] == pytest.approx(0.838910, abs=1e-6)
    assert levels[-1] == 0


def test_super_resolution_starts_from_the_noised_enlarged_clip_and_a_held_noisy_audio():
    drawn = []

    def draw(shape):
        drawn.append(shape)
        return torch.full(shape, 10.0)

    base, audio = torch.randn(48, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.ones(9, 64)
    clip = super_resolution_input(base, audio, LatentGrid(3, 4, 6), torch.zeros(4, 32), draw)
    assert drawn == [(48, 3, 4, 6), (9, 64)]  # video, then audio
    up = enlarged(base, LatentGrid(3, 4, 6))
    torch.testing.assert_close(up[:, :, ::3, ::5], base)  # corners on corners
    torch.testing.assert_close(clip.video, 0.838910 * up + 0.544270 * 10, rtol=0, atol=1e-5)
    torch.testing.assert_close(clip.audio, torch.full((9, 64), 0.7 * 10 + 0.3))


def test_noise_depends_on_the_seed_alone():
    first, again, other = NoiseSource(5, CPU), NoiseSource(5, CPU), NoiseSource(6, CPU)
    drawn = first((4, 3))
    assert torch.equal(drawn, again((4, 3)))
    assert not torch.equal(drawn, other((4, 3)))
    assert not torch.equal(drawn, first((4, 3)))


def test_reference_noise_comes_from_the_devices_own_generator():
    source = NoiseSource(42, CPU, reference=True)
    torch.manual_seed(42)
    for shape in ((17, 64), (48, 5, 4, 6)):
        assert torch.equal(source(shape), torch.randn(1, *shape)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_reference_noise_on_cuda_is_that_of_a_cuda_generator():
    device = torch.device("cuda")
    expected = torch.randn(17, 64, device=device, generator=torch.Generator(device).manual_seed(42))
    assert torch.equal(NoiseSource(42, device, reference=True)((17, 64)), expected)
    assert torch.equal(NoiseSource(42, device)((17, 64)).cpu(), NoiseSource(42, CPU)((17, 64)))
