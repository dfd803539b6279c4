"""`python -m engine.source_reader ORDER`: the process that opens a client's media file (see engine.source_process).

ORDER is JSON: `task` and its arguments, and the limits this process puts on itself first. It prints one line of JSON:
the answer, or `reason` and `message` of what is wrong with the file.
"""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from engine.source_facts import facts
from engine.source_frames import write_frames
from engine.source_process import accept_limits
from engine.source_sound import write_sound, write_video_sound
from hhray.errors import MediaError
from hhray.geometry import FRAMES_PER_SECOND, Size

NEARLY_ALL = 0.75


def _probe(order: dict[str, Any]) -> dict[str, Any]:
    return facts(Path(order["path"]))


def _video(order: dict[str, Any]) -> dict[str, Any]:
    path, num_frames = Path(order["path"]), order["num_frames"]
    size = Size(order["width"], order["height"])
    began = write_frames(path, Path(order["frames"]), size, order["aspect"], num_frames)
    rate = write_video_sound(path, Path(order["sound"]), began, num_frames / FRAMES_PER_SECOND)
    return {"sound_rate": rate or 0}


def _sound(order: dict[str, Any]) -> dict[str, Any]:
    rate, channels, num_samples = write_sound(Path(order["path"]), Path(order["sound"]), order["max_seconds"])
    return {"sound_rate": rate, "channels": channels, "num_samples": num_samples}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"probe": _probe, "video": _video, "sound": _sound}


def main(text: str) -> dict[str, Any]:
    """Carry out an order; what is wrong with the file becomes part of the answer."""
    order = json.loads(text)
    accept_limits(order["memory_bytes"], order["seconds"], order["file_bytes"])
    try:
        return TASKS[order["task"]](order)
    except (
        MediaError,
        av.FFmpegError,
        MemoryError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        OSError,
    ) as error:
        if _was_memory(error, order["memory_bytes"]):
            limit = f"{order['memory_bytes'] / 1e9:.1f} GB of memory"
            return _refusal("TooLarge", f"the file needs more than {limit} to read; send a smaller one", error)
        if isinstance(error, MediaError):
            return _refusal(error.code.removeprefix("BadRequest."), error.message, error)
        return _refusal("UnsupportedFileFormat", f"the file cannot be read; send an undamaged {order['kinds']}", error)


def _was_memory(error: BaseException, memory_bytes: int) -> bool:
    """Whether memory ran out: FFmpeg sometimes calls what it could not allocate invalid."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    try:
        peak = re.search(r"VmPeak:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except (MemoryError, OSError):
        return True
    return peak is not None and int(peak[1]) * 1024 > NEARLY_ALL * memory_bytes


def _refusal(reason: str, message: str, error: BaseException) -> dict[str, Any]:
    return {"reason": reason, "message": message, "detail": repr(error)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
