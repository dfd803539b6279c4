"""Which latent frames the Turbo decoder sees at a time, and which of the resulting frames are kept (specification 4.3).

Windows overlap by one latent frame on each side for context, and are otherwise independent: any rank may decode any.
"""

from __future__ import annotations

import math

from engine.codecs.turbo_config import TurboConfig
from engine.codecs.window import Window
from hhray.geometry import TEMPORAL_STRIDE


def windows(num_latents: int, config: TurboConfig) -> tuple[Window, ...]:
    """The windows of a clip of `num_latents` latent frames, in order; they keep 4 (num_latents - 1) + 1 frames.

    The clip counts as lengthened to first_chunk_size + k * step_size latent frames, k >= 0; frames of the additional
    ones are not kept.
    """
    first, step = config.first_chunk_size, config.step_size
    padded = first + math.ceil(max(num_latents - first, 0) / step) * step
    total = num_decoded_frames(num_latents)
    result = [Window(0, min(first + 1, padded), 0, 0, min(num_decoded_frames(first), total))]
    for begin in range(first, padded, step):
        first_frame = num_decoded_frames(begin)
        num_frames = min(TEMPORAL_STRIDE * step, total - first_frame)
        stop = min(begin + step + 1, padded)
        result.append(Window(begin - 1, stop, TEMPORAL_STRIDE, first_frame, num_frames))
    return tuple(result)


def num_decoded_frames(num_latents: int) -> int:
    """Frames of a clip of that many latent frames."""
    return TEMPORAL_STRIDE * (num_latents - 1) + 1
