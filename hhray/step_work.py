"""What one denoising step of a pass asks of a rank, counted: FLOPs, bytes, layers. No seconds, nothing measured.

A multiplication and an addition are two FLOPs; norms, activations and rotary positions do not count (model
specification 5.1). Bytes are those of the cheapest layout in which every layer sees everything, on even slices.
"""

from __future__ import annotations

from dataclasses import dataclass

from hhray.geometry import LatentGrid
from hhray.local_rule import LocalRule
from hhray.memory_exchange import ELEMENT_BYTES, eligible_layouts, heads_sent
from hhray.memory_plan import is_small
from hhray.memory_size import Format, transformer_bytes
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize

OUTPUT_BYTES = 4  # velocities are float32


@dataclass(frozen=True, slots=True)
class StepFlops:
    """FLOPs of all linears, and of q k^T and p v."""

    gemm: int
    attention: int

    @property
    def total(self) -> int:
        return self.gemm + self.attention


@dataclass(frozen=True, slots=True)
class ClipTokens:
    """The tokens of one clip: of video on `grid`, audio and text, and `conditions`, clean video tokens behind these."""

    grid: LatentGrid
    audio: int
    text: int
    conditions: int = 0

    @property
    def num_tokens(self) -> int:
        return self.grid.num_tokens + self.audio + self.text + self.conditions


def seen_pairs(grid: LatentGrid, num_tokens: int, window: int) -> int:
    """(query, key) pairs of a layer whose video queries see `window` latent frames to either side.

    Sum over frames of (frames seen) x (tokens of a frame)^2, then video queries x all other tokens, and all other
    queries x everything.
    """
    frames, per_frame, video = grid.frames, grid.tokens_per_frame, grid.num_tokens
    seen = sum(min(frame + window + 1, frames) - max(frame - window, 0) for frame in range(frames))
    return seen * per_frame**2 + video * (num_tokens - video) + (num_tokens - video) * num_tokens


def layer_flops(size: ModelSize, grid: LatentGrid, num_tokens: int, rule: LocalRule | None) -> StepFlops:
    """All layers of one forward pass of one clip: 2 x (weights a token meets) x tokens, and 4 x H D x pairs."""
    num_local = sum(layer in rule.layers for layer in range(size.num_layers)) if rule else 0
    pairs = (size.num_layers - num_local) * num_tokens**2
    if rule:
        pairs += num_local * seen_pairs(grid, num_tokens, rule.window)
    return StepFlops(2 * size.weights_per_token() * num_tokens, 4 * size.attention_width * pairs)


def border_flops(size: ModelSize, channels: int, num_tokens: int, output: bool) -> int:
    """The embedder of some tokens of so many channels, and the final linear where their velocities are wanted."""
    return 2 * size.hidden * channels * num_tokens * (2 if output else 1)


def step_flops(size: ModelSize, clip: ClipTokens, rule: LocalRule | None = None) -> StepFlops:
    """One forward pass of one clip on all ranks together."""
    layers = layer_flops(size, clip.grid, clip.num_tokens, rule)
    border = (
        border_flops(size, PATCH_CHANNELS, clip.grid.num_tokens, True)
        + border_flops(size, AUDIO_CHANNELS, clip.audio, True)
        + border_flops(size, size.text_channels, clip.text, False)
        + border_flops(size, PATCH_CHANNELS, clip.conditions, False)
    )
    return StepFlops(layers.gemm + border, layers.attention)


@dataclass(frozen=True, slots=True)
class StepWork:
    """One denoising step of a batch, as a rank of its block meets it.

    FLOPs, bytes and collectives are the rank's own; `layers`, `forwards` and `items` count over the forward passes of
    the step (2 with guidance): layers run, passes made, clips handled. `weight_bytes` is read once a forward pass.
    """

    gemm_flops: float
    attention_flops: float
    layers: int
    forwards: int
    items: int
    collectives: int
    bytes_sent: float
    weight_bytes: int


def step_work(
    size: ModelSize,
    clip: ClipTokens,
    rule: LocalRule | None = None,
    *,
    degree: int = 1,
    items: int = 1,
    forwards: int = 1,
    element_bytes: int = 0,
) -> StepWork:
    """The work of a step of `items` equal clips on a block of `degree` ranks, which share it evenly.

    Numbers are exchanged in `element_bytes`; 0: in float32 by networks a CPU runs, in bfloat16 by others.

    Raises:
        ConfigError: the network's heads cannot be split over so many ranks.
    """
    flops = step_flops(size, clip, rule)
    collectives, sent = 0, 0.0
    if degree > 1:
        layout = min(eligible_layouts(size, degree), key=lambda one: heads_sent(size, one))
        own, width = items * clip.num_tokens / degree, element_bytes or (4 if is_small(size) else ELEMENT_BYTES)
        in_a_layer = own * float(heads_sent(size, layout)) * size.head_dim * width
        outputs = items * (clip.grid.num_tokens * PATCH_CHANNELS + clip.audio * AUDIO_CHANNELS) / degree
        sent = size.num_layers * in_a_layer + (degree - 1) * outputs * OUTPUT_BYTES
        collectives = size.num_layers * (2 * (layout.ulysses > 1) + (layout.gather > 1)) + 1
    return StepWork(
        gemm_flops=forwards * items * flops.gemm / degree,
        attention_flops=forwards * items * flops.attention / degree,
        layers=forwards * size.num_layers,
        forwards=forwards,
        items=forwards * items,
        collectives=forwards * collectives,
        bytes_sent=forwards * sent,
        weight_bytes=transformer_bytes(size, Format.BF16),
    )
