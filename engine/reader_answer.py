"""Inside a reader process: confinement first, then the order, then one answer, whatever the file did to its decoder."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.reader_confinement import accept_limits, leave_network
from hhray.errors import MediaError

Order = dict[str, Any]
NEARLY_ALL = 0.75
NO_ROOM = "NoRoom"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_USUAL: tuple[type[Exception], ...] = (
    MediaError,
    MemoryError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    OSError,
)


def carry_out(
    text: str, tasks: Mapping[str, Callable[[Order], Order]], errors: tuple[type[Exception], ...] = ()
) -> Order:
    """Carry out an order; what is wrong with the file becomes part of the answer. `errors` are the decoder's own.

    `networked` in the answer says that this machine has no way to take the network from the reader.
    """
    order = json.loads(text)
    accept_limits(order["memory_bytes"], order["seconds"], order["file_bytes"])
    networked = not leave_network()
    caught: tuple[type[Exception], ...] = (*_USUAL, *errors)
    try:
        answer = tasks[order["task"]](order)
    except caught as error:
        answer = _refusal_of(error, order)
    return answer | {"networked": networked}


def _refusal_of(error: Exception, order: Order) -> Order:
    if getattr(error, "errno", None) in _FULL:
        return _refusal(NO_ROOM, "no room is left for what is read", error)
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


def _refusal(reason: str, message: str, error: BaseException) -> Order:
    return {"reason": reason, "message": message, "detail": repr(error)}
