"""Measures denoising steps as the engine makes them: network, exchange, attention and solver, on one rank of a gang."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

import torch

from engine.activation_meter import ActivationMeter
from engine.attention import attention_kernel, consider_compiled_attention
from engine.attention_warm_up import measure_layers
from engine.bench.clock import CLOCKS, WALL, Clock
from engine.bench.device import KernelWatch, begin_peak, peak_of, synchronise
from engine.bench.figures import StageFigures
from engine.bench.flops import step_flops
from engine.bench.networks import SEED, num_bytes
from engine.bench.profiling import seconds_by_kind
from engine.bench.workload import Workload, pixels
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.model.dit import AudioVideoTransformer
from engine.samplers.noise import NoiseSource
from engine.stages import stage_sampler, stage_style
from hhray.memory_parts import Stage
from hhray.model_size import AUDIO_CHANNELS
from hhray.served_model import Pass

OnStep = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of how many ranks measures, on what, and by which clock."""

    rank: int
    world_size: int
    device: torch.device
    clock: Clock = CLOCKS[WALL]


def measure_pass(
    networks: Sequence[AudioVideoTransformer],
    work: Workload,
    one: Pass,
    rank: Rank,
    steps: int,
    on_step: OnStep,
    attention: str = "plain",
) -> tuple[StageFigures, ...]:
    """Time steps of a pass with each of some networks, which take turns. All ranks must call this at the same time.

    Before come a step of the first that is looked at, operator by operator and without compiled kernels, and one of
    each that warms it up and tells its peak on a GPU. On a CPU the memory of all is that of the first step. A profiled
    step of each comes last.

    Args:
        networks: of one size, with the same weights.
        steps: to be timed; a clip that ends before is begun anew, outside the timed steps.
        on_step: called after every step, `num_steps` times in all.
        attention: of the first network, plain or int8; that of the others is plain.

    Returns:
        Figures of each network.
    """
    consider_compiled_attention()
    place = (rank.rank, rank.world_size, rank.device, work.rule(one))
    ways = [attention] + ["plain"] * (len(networks) - 1)
    for way in dict.fromkeys(ways):
        measure_layers(work.stream(one), work.size, *place, int8=way == "int8")
    clips = [_TimedClip(network, work, one, rank, way) for network, way in zip(networks, ways, strict=True)]
    activation_bytes, kernels = _watched_step(clips[0].denoiser, clip_inputs(work, one, rank.device))
    on_step()
    peaks = []
    for clip in clips:
        begin_peak(rank.device)
        clip.step()
        counted = sum(num_bytes(network) for network in networks) + activation_bytes
        others = sum(num_bytes(network) for network in networks if network is not clip.denoiser.model)
        peaks.append(peak_of(rank.device, counted) - others)
        on_step()
    seconds: list[list[float]] = [[] for _ in networks]
    for _ in range(steps):
        for clip, each in zip(clips, seconds, strict=True):
            each.append(clip.step())
            on_step()
    profiles = []
    for clip, each in zip(clips, seconds, strict=True):
        profiles.append(seconds_by_kind(clip.step, median(each), rank.device, rank.clock))
        on_step()
    stream = work.stream(one)
    common = StageFigures(
        stage=one.stage.value,
        size=str(pixels(one.grid)),
        tokens=stream.num_tokens,
        steps=one.num_steps,
        seconds=(),
        flops=asdict(step_flops(work.size, stream, work.rule(one))),
        bytes_sent=clips[0].bytes_sent,
        peak_bytes=0,
        kernels=kernels,
        device=rank.device.type,
        items=work.batch,
    )
    found = zip(seconds, peaks, profiles, strict=True)
    return tuple(replace(common, seconds=tuple(each), peak_bytes=peak, profile=one) for each, peak, one in found)


def num_steps(steps: int, networks: int) -> int:
    """How often `measure_pass` reports a step."""
    return 1 + networks * (2 + steps)


def clip_inputs(work: Workload, one: Pass, device: torch.device) -> list[ClipInput]:
    """Clips of noise and random text features; super-resolution holds their audio, as in earnest."""
    return [_clip_input(work, one, NoiseSource(SEED + item, device)) for item in range(work.batch)]


def _clip_input(work: Workload, one: Pass, draw: NoiseSource) -> ClipInput:
    text = draw((work.text_tokens, work.size.text_channels))
    audio = None if one.stage is Stage.BASE else draw((work.audio_latents, AUDIO_CHANNELS))
    return ClipInput(one.grid, work.audio_latents, text, draw, audio=audio)


def _watched_step(denoiser: Denoiser, clips: list[ClipInput]) -> tuple[int, tuple[str, ...]]:
    """The most bytes of activations at one time, and the attention kernels, of a batch's first step."""
    with torch.no_grad():  # not inference mode: see KernelWatch
        batch = denoiser.start(clips)
        known = [*denoiser.model.parameters(), *denoiser.model.buffers(), *batch.inputs]
        with ActivationMeter(known) as meter, KernelWatch() as watch:
            denoiser.step(batch, 0)
    return meter.peak_bytes, watch.kernels


class _TimedClip:
    """A clip that a network denoises step by step, over and over. `bytes_sent` are those of the last step."""

    def __init__(
        self, network: AudioVideoTransformer, work: Workload, one: Pass, rank: Rank, attention: str = "plain"
    ) -> None:
        sampler, style, kernel = (
            stage_sampler(one.stage, work.served),
            stage_style(one.stage),
            attention_kernel(attention),
        )
        self.denoiser = Denoiser(network, sampler, rank.rank, rank.world_size, style, work.rule(one), kernel=kernel)
        self._work, self._pass, self._device = work, one, rank.device
        self._batch: Batch | None = None
        self._clock = rank.clock
        self.bytes_sent = 0

    @torch.inference_mode()
    def step(self) -> float:
        """Seconds of the next step."""
        batch = self._batch
        if batch is None or batch.next_step == self._pass.num_steps:
            batch = self._batch = self.denoiser.start(clip_inputs(self._work, self._pass, self._device))
        sent = batch.bytes_sent
        synchronise(self._device)
        began = self._clock()
        self.denoiser.step(batch, batch.next_step)
        synchronise(self._device)
        seconds = self._clock() - began
        self.bytes_sent = batch.bytes_sent - sent
        return seconds
