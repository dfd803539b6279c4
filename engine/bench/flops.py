"""Counted FLOPs of one forward pass (model specification 5.1): what the model needs, whatever a kernel does besides.

A multiplication and an addition are two FLOPs. Norms, activations and rotary positions do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.local_attention import LocalRule
from engine.model.stream import ItemShape, Modality, SegmentShape, TokenStream
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize


@dataclass(frozen=True, slots=True)
class StepFlops:
    """FLOPs of all linears, and of q k^T and p v."""

    gemm: int
    attention: int

    @property
    def total(self) -> int:
        return self.gemm + self.attention


def step_flops(size: ModelSize, stream: TokenStream, rule: LocalRule | None) -> StepFlops:
    """One forward pass over a stream on all ranks together.

    gemm: 2 x (block weights a token meets) x tokens, the embedders of all segments and the heads of those with output.
    attention: 4 x H D x (query, key) pairs, summed over layers and items; layers named in `rule` see near frames only.
    """
    gemm = attention = 0
    layers = range(size.num_layers)
    num_local = sum(layer in rule.layers for layer in layers) if rule else 0
    for item in stream.items:
        gemm += 2 * size.weights_per_token() * item.num_tokens
        gemm += sum(_border_flops(size, segment) for segment in item.segments)
        pairs = (size.num_layers - num_local) * item.num_tokens**2
        if rule:
            pairs += num_local * local_pairs(item, rule.window)
        attention += 4 * size.attention_width * pairs
    return StepFlops(gemm, attention)


def local_pairs(item: ItemShape, window: int) -> int:
    """(query, key) pairs of a layer whose video queries see `window` latent frames to either side.

    Sum over frames of (frames seen) x (tokens of a frame)^2, then video queries x all other tokens, and all other
    queries x everything.
    """
    frames, per_frame = item.grid.frames, item.grid.tokens_per_frame
    seen = sum(min(frame + window + 1, frames) - max(frame - window, 0) for frame in range(frames))
    video, total = item.grid.num_tokens, item.num_tokens
    return seen * per_frame**2 + video * (total - video) + (total - video) * total


def _border_flops(size: ModelSize, segment: SegmentShape) -> int:
    """The embedder of a segment, and the final linear where its velocities are wanted."""
    channels = {
        Modality.VIDEO: PATCH_CHANNELS,
        Modality.AUDIO: AUDIO_CHANNELS,
        Modality.TEXT: size.text_channels,
    }[segment.modality]
    return 2 * size.hidden * channels * segment.num_tokens * (2 if segment.output else 1)
