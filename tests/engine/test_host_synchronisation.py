"""A denoising step queues its work and waits for none: no number of a tensor is asked for on the way."""

from __future__ import annotations

import pytest
import torch

from engine.arranged import arrange_linears
from engine.denoiser import ClipInput, Denoiser
from engine.local_attention import LocalRule
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.samplers.unipc import Guidance, UniPCSampler
from engine.weights import build_meta_model, build_model
from hhray.geometry import LatentGrid
from hhray.model_size import preset

META = torch.device("meta")
SAMPLERS = {"distilled": DistilledSampler(3), "guided": UniPCSampler(3, Guidance())}


def clip(size, device, grid):
    text = torch.zeros(5, size.text_channels, device=device)
    draw = NoiseSource(1, device)
    audio = torch.zeros(grid.decoded_frames, 64, device=device)
    frame = torch.zeros(48, 1, grid.height, grid.width, device=device)
    return ClipInput(grid, grid.decoded_frames, text, draw, first_frame=frame, audio=audio, negative_text=text)


@torch.inference_mode()
def all_steps(model, sampler, device, rule=None):
    denoiser = Denoiser(model, sampler, local=rule)
    batch = denoiser.start(
        [clip(model.size, device, LatentGrid(3, 4, 6)), clip(model.size, device, LatentGrid(2, 4, 4))]
    )
    for index in range(sampler.num_steps):
        yield index
        denoiser.step(batch, index)


@pytest.mark.parametrize("rule", [None, LocalRule(1, frozenset({1, 3}))], ids=["full", "local"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_step_runs_on_tensors_that_have_no_numbers(sampler, rule):
    # meta tensors refuse whatever would make the host wait: item, bool, tolist, nonzero, a copy to the host
    model = build_meta_model(preset("pico"))
    arrange_linears(model, least=1)
    assert list(all_steps(model, SAMPLERS[sampler], META, rule)) == [0, 1, 2]


@pytest.mark.parametrize("ask", [bool, float, lambda x: x.tolist(), lambda x: x.nonzero(), lambda x: x.to("cpu")])
def test_tensors_without_numbers_refuse_to_be_waited_for(ask):
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.zeros((), device=META) if ask in (bool, float) else torch.zeros(2, device=META))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_step_waits_for_a_gpu(sampler):
    device = torch.device("cuda")
    model = build_model(preset("pico"), device)
    steps = all_steps(model, SAMPLERS[sampler], device)
    next(steps)
    next(steps)  # the first step may choose kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert list(steps) == [2]
    finally:
        torch.cuda.set_sync_debug_mode("default")
