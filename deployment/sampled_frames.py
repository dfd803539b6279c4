"""A few frames of a finished clip, as a viewer sees them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def sampled_frames(path: Path, count: int) -> list[NDArray[np.uint8]]:
    """`count` frames, or all if there are fewer, RGB [H, W, 3], evenly spaced from the first to the last.

    The file must be one of this server's: it is decoded in this process.

    Raises:
        av.error.FFmpegError: it cannot be decoded.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        last = max(0, stream.frames - 1)
        wanted = {round(last * step / max(1, count - 1)) for step in range(count)}
        found: list[NDArray[np.uint8]] = []
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                found.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
        return found
