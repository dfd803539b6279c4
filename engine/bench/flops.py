"""FLOPs of one forward pass of a stream, counted as hhray.step_work does: what the model needs, not a kernel."""

from __future__ import annotations

from engine.local_attention import LocalRule
from engine.model.stream import ItemShape, Modality, TokenStream
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize
from hhray.step_work import StepFlops, border_flops, layer_flops, seen_pairs


def step_flops(size: ModelSize, stream: TokenStream, rule: LocalRule | None) -> StepFlops:
    """One forward pass over a stream on all ranks together: its layers, the embedders of all segments and the heads of
    those with output; layers named in `rule` see near frames only."""
    channels = {
        Modality.VIDEO: PATCH_CHANNELS,
        Modality.AUDIO: AUDIO_CHANNELS,
        Modality.TEXT: size.text_channels,
    }
    gemm = attention = 0
    for item in stream.items:
        layers = layer_flops(size, item.grid, item.num_tokens, rule)
        gemm += layers.gemm
        attention += layers.attention
        gemm += sum(border_flops(size, channels[one.modality], one.num_tokens, one.output) for one in item.segments)
    return StepFlops(gemm, attention)


def local_pairs(item: ItemShape, window: int) -> int:
    """(query, key) pairs of a layer whose video queries see `window` latent frames to either side."""
    return seen_pairs(item.grid, item.num_tokens, window)
