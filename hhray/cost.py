"""The cost model: shape and world size -> seconds. Queue length, quotas and watchdogs are all in GPU-seconds from here.

FLOPs per token and step are twice the block weights one token meets; attention adds 4 x pairs x attention width per
layer (model specification 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from hhray.geometry import ClipGeometry, LatentGrid
from hhray.model_size import ModelSize
from hhray.served_model import Pass, ServedModel

TYPICAL_TEXT_TOKENS = 64


def stream_tokens(grid: LatentGrid, audio_latents: int, text_tokens: int = TYPICAL_TEXT_TOKENS) -> int:
    """Tokens of one item: video, audio and text together."""
    return grid.num_tokens + audio_latents + text_tokens


def step_flops(size: ModelSize, num_tokens: int) -> float:
    """FLOPs of one denoising step of one item of `num_tokens` tokens, full attention in every layer."""
    linear = 2.0 * size.weights_per_token() * num_tokens
    attention = 4.0 * num_tokens**2 * size.attention_width * size.num_layers
    return linear + attention


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of work for a clip on one rank of a machine.

    `flops_per_second` is what one rank reaches inside the transformer; `pixels_per_second` what one worker decodes,
    enlarges and encodes. Both are settings; engines correct the step time by what they measure.
    """

    served: ServedModel
    flops_per_second: float
    pixels_per_second: float

    def step_seconds(self, one: Pass, audio_latents: int, ranks: int = 1, items: int = 1) -> float:
        """Predicted wall seconds of one denoising step of a pass of a batch of `items` clips on `ranks` ranks."""
        tokens = stream_tokens(one.grid, audio_latents)
        flops = one.forwards * step_flops(self.served.size, tokens)
        return items * flops / self.flops_per_second / ranks

    def steps_seconds(self, geometry: ClipGeometry, ranks: int = 1, items: int = 1) -> tuple[float, ...]:
        """Predicted wall seconds of every denoising step of a batch of clips, over all passes."""
        return tuple(
            self.step_seconds(one, geometry.audio_latents, ranks, items)
            for one in self.served.passes(geometry)
            for _ in range(one.num_steps)
        )

    def decode_seconds(self, geometry: ClipGeometry, items: int = 1) -> float:
        """Predicted wall seconds of decoding, enlarging and encoding `items` clips on one worker."""
        output = geometry.output
        return items * output.width * output.height * geometry.num_frames / self.pixels_per_second

    def gpu_seconds(self, geometry: ClipGeometry) -> float:
        """Rank-seconds of the whole clip: the unit of queues and quotas."""
        return sum(self.steps_seconds(geometry)) + self.decode_seconds(geometry)
