"""`python -m engine.source_reader ORDER`: the process that opens a client's media file (see engine.source_process).

ORDER is JSON: `task` and its arguments, and the limits this process puts on itself first. It prints one line of JSON:
the answer, or `reason` and `message` of what is wrong with the file.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from engine.source_facts import facts
from engine.source_process import accept_limits
from hhray.errors import MediaError


def _probe(order: dict[str, Any]) -> dict[str, Any]:
    return facts(Path(order["path"]))


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"probe": _probe}


def main(text: str) -> dict[str, Any]:
    """Carry out an order; what is wrong with the file becomes part of the answer."""
    order = json.loads(text)
    accept_limits(order["memory_bytes"], order["seconds"], order["file_bytes"])
    try:
        return TASKS[order["task"]](order)
    except MediaError as error:
        return _refusal(error.code.removeprefix("BadRequest."), error.message, error)
    except (av.FFmpegError, MemoryError, ValueError, ArithmeticError, LookupError, AttributeError, OSError) as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            limit = f"{order['memory_bytes'] / 1e9:.1f} GB of memory"
            return _refusal("TooLarge", f"the file needs more than {limit} to read; send a smaller one", error)
        return _refusal("UnsupportedFileFormat", f"the file cannot be read; send an undamaged {order['kinds']}", error)


def _refusal(reason: str, message: str, error: BaseException) -> dict[str, Any]:
    return {"reason": reason, "message": message, "detail": repr(error)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
