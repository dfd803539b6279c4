"""Which H.264 encoder writes clips: the GPU's where there is one that works, else x264; probed once a process.

Data-centre GPUs such as A100, H100 and H200 have no encoding unit: only opening an encoder tells. NVENC was never run
in the making of this module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from av.codec import codecs_available
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

logger = logging.getLogger(__name__)
PROBE_SIDE = 256  # NVENC refuses very small pictures


@dataclass(frozen=True, slots=True)
class VideoEncoder:
    """FFmpeg's name of an encoder, and its options for a clip."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


X264 = VideoEncoder("libx264", {"preset": "veryfast", "crf": "20", "profile": "high"})
NVENC = VideoEncoder("h264_nvenc", {"preset": "p4", "rc": "vbr", "cq": "21", "b": "0", "profile": "high"})


@cache
def encoder_for(device_type: str) -> VideoEncoder:
    """The encoder of a rank that computes on "cuda" or "cpu"; the latter does not look for a GPU."""
    chosen = choose(codecs_available, opens) if device_type == "cuda" else X264
    logger.info("clips are encoded by %s", chosen.name)
    return chosen


def choose(available: Collection[str], works: Callable[[VideoEncoder], bool]) -> VideoEncoder:
    """NVENC if FFmpeg was built with it and it works, else x264."""
    return NVENC if NVENC.name in available and works(NVENC) else X264


def opens(encoder: VideoEncoder) -> bool:
    """Whether the encoder can be opened on this machine."""
    context = CodecContext.create(encoder.name, "w")
    if not isinstance(context, VideoCodecContext):
        return False
    context.width = context.height = PROBE_SIDE
    context.pix_fmt, context.time_base, context.options = "yuv420p", Fraction(1, 25), dict(encoder.options)
    try:
        context.open()
    except FFmpegError as error:
        logger.info("%s does not open here: %s", encoder.name, error)
        return False
    return True
