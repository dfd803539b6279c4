"""The cost model: shape, degree and batch -> seconds. Queues, quotas, plans and watchdogs are in GPU-seconds from here.

Work is counted (hhray.step_work), rates are fitted (hhray.cost_fit), what remains is corrected by what engines measure
(hhray.cost_correction). A denoising step of W counted work on one rank takes

    max(gemm FLOPs / F, weight bytes / M) + attention FLOPs / A + layers x l + passes x f + clips x i
    + collectives x c + bytes sent / B

seconds: a sum, as if exchange and compute did not overlap. A decode takes a fixed time, then its pixels over a rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hhray.geometry import SPATIAL_STRIDE, ClipGeometry, LatentGrid
from hhray.local_rule import local_rule
from hhray.memory_plan import is_small
from hhray.request import Mode
from hhray.served_model import Pass, ServedModel
from hhray.step_work import ClipTokens, StepWork, step_work

TYPICAL_TEXT_TOKENS = 64
CHUNK_SECONDS = 1  # of video in one chunk of a decode


def stream_tokens(grid: LatentGrid, audio_latents: int, text_tokens: int = TYPICAL_TEXT_TOKENS) -> int:
    """Tokens of one item: video, audio and text together."""
    return grid.num_tokens + audio_latents + text_tokens


@dataclass(frozen=True, slots=True)
class Overheads:
    """What a rank spends beside its matrix products. A time of 0 and a rate of infinity cost nothing.

    Attributes:
        attention_flops_per_second: of q k^T and p v; 0: the same as of the products.
        memory_bytes_per_second: at which weights are read, which a forward pass of few tokens waits for.
        layer_seconds: of every layer, whatever its tokens: kernel launches, and the host between them.
        forward_seconds: of every forward pass.
        item_seconds: of every clip of a batch in every forward pass: its solver step, its slices.
        exchange_seconds: of every collective, before its first byte.
        link_bytes_per_second: that a rank sends to the others.
        decoded_pixels_per_second: that a rank decodes, before they are cropped or enlarged.
        decode_seconds: of every clip's decode, whatever its size.
    """

    attention_flops_per_second: float = 0.0
    memory_bytes_per_second: float = math.inf
    layer_seconds: float = 0.0
    forward_seconds: float = 0.0
    item_seconds: float = 0.0
    exchange_seconds: float = 0.0
    link_bytes_per_second: float = math.inf
    decoded_pixels_per_second: float = math.inf
    decode_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of work for a clip on ranks of one kind.

    `flops_per_second` is what one rank reaches in matrix products; `pixels_per_second` the delivered pixels that one
    worker enlarges and encodes. Both, and the rest in `overheads`, are settings.
    """

    served: ServedModel
    flops_per_second: float
    pixels_per_second: float
    overheads: Overheads = Overheads()

    def step_seconds(self, one: Pass, audio_latents: int, ranks: int = 1, items: int = 1, conditions: int = 0) -> float:
        """Predicted wall seconds of one denoising step of a pass of a batch of `items` clips on `ranks` ranks.

        `conditions` are the clean video tokens of each clip, of pictures or a source video.
        """
        size = self.served.size
        clip = ClipTokens(one.grid, audio_latents, TYPICAL_TEXT_TOKENS, conditions)
        rule = local_rule(one.stage, size.num_layers)
        return self.work_seconds(step_work(size, clip, rule, degree=ranks, items=items, forwards=one.forwards))

    def work_seconds(self, work: StepWork) -> float:
        """The formula above."""
        rest = self.overheads
        reading = work.forwards * work.weight_bytes / rest.memory_bytes_per_second
        return (
            max(work.gemm_flops / self.flops_per_second, reading)
            + work.attention_flops / (rest.attention_flops_per_second or self.flops_per_second)
            + work.layers * rest.layer_seconds
            + work.forwards * rest.forward_seconds
            + work.items * rest.item_seconds
            + work.collectives * rest.exchange_seconds
            + work.bytes_sent / rest.link_bytes_per_second
        )

    def steps_seconds(
        self, geometry: ClipGeometry, ranks: int = 1, items: int = 1, mode: Mode = Mode.T2V
    ) -> tuple[float, ...]:
        """Predicted wall seconds of every denoising step of a batch of clips, over all passes."""
        clean = condition_tokens(self.served, geometry, mode)
        return tuple(
            seconds
            for one in self.served.passes(geometry)
            for seconds in (self.step_seconds(one, geometry.audio_latents, ranks, items, clean),) * one.num_steps
        )

    def decode_seconds(self, geometry: ClipGeometry, items: int = 1, ranks: int = 1) -> float:
        """Predicted wall seconds of decoding, enlarging and encoding `items` clips, one after the other.

        Ranks decode in turns where the decoder works in windows of about a second, as those of a checkpoint do and the
        small presets' do not; one worker enlarges and encodes.
        """
        output, rest = geometry.output, self.overheads
        grid = self.served.passes(geometry)[-1].grid
        decoded = grid.width * grid.height * SPATIAL_STRIDE**2 * grid.decoded_frames
        chunks = decode_chunks(geometry)
        turns = chunks if is_small(self.served.size) else -(-chunks // ranks)
        return items * (
            rest.decode_seconds
            + decoded / rest.decoded_pixels_per_second * turns / chunks
            + output.width * output.height * geometry.num_frames / self.pixels_per_second
        )

    def gpu_seconds(self, geometry: ClipGeometry, mode: Mode = Mode.T2V) -> float:
        """Rank-seconds of the whole clip: the unit of queues and quotas."""
        return sum(self.steps_seconds(geometry, mode=mode)) + self.decode_seconds(geometry)


def decode_chunks(geometry: ClipGeometry) -> int:
    """Units of a clip's decode: one for each second of video."""
    return -(-geometry.duration // CHUNK_SECONDS)


def condition_tokens(served: ServedModel, geometry: ClipGeometry, mode: Mode) -> int:
    """Clean video tokens of a clip of a network trained for the mode: a source video at the base's size; one reference
    picture, since how many there are is no part of a bucket. Other networks are conditioned without tokens."""
    grid = served.base_grid(geometry)
    if not served.capabilities.trained_for(mode):
        return 0
    return {Mode.VIDEO_EDIT: grid.num_tokens, Mode.R2V: grid.tokens_per_frame}.get(mode, 0)
