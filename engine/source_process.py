"""A process for hostile media files: limited in memory, time and what it may write, watched from outside.

FFmpeg reads a hundred codecs in C, and the files come from anybody. So no file is opened in the server: `ask` starts
`python -m engine.source_reader` or `engine.picture_reader` for one order and believes nothing of its answer but short,
well-formed JSON. The reader gives up what it does not need (engine.reader_confinement) before it opens the file.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any

from engine.reader_answer import NO_ROOM
from hhray.errors import MediaError

logger = logging.getLogger("ray.serve")

READER = "engine.source_reader"
PICTURE_READER = "engine.picture_reader"
MAX_ANSWER_BYTES = 64 * 1024
START_SECONDS = 10  # for the reader's own imports, on a busy machine
REASONS = ("UnsupportedFileFormat", "TooLarge")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one reader: address space, seconds of computing and of waiting, and bytes of the largest file it writes."""

    memory_bytes: int
    seconds: float
    file_bytes: int = 0


def ask(
    what: str, order: dict[str, Any], limits: Limits, output: IO[bytes] | None = None, reader: str = ""
) -> dict[str, Any]:
    """Have a reader carry out an order; returns its answer.

    Args:
        what: "the video", for messages.
        order: plain values; `task` names what to do (engine.source_reader).
        output: an open file that the reader writes to, from its beginning.
        reader: the module to run; empty: READER.

    Raises:
        MediaError: UnsupportedFileFormat (the file is of another kind or damaged, or the reader died over it) or
            TooLarge (memory or time ran out).
        OSError: no room for the output.
    """
    whole = order | {
        "memory_bytes": limits.memory_bytes,
        "seconds": limits.seconds,
        "file_bytes": limits.file_bytes,
    }
    kept = () if output is None else (output.fileno(),)
    whole |= {"output": kept[0]} if kept else {}
    written, exit_code, late = _run(reader or READER, json.dumps(whole), kept, limits.seconds + START_SECONDS)
    if late or exit_code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise MediaError(
            "TooLarge", f"{what} takes more than {limits.seconds:g} seconds to read; send a shorter or smaller one"
        )
    return _checked_answer(what, written, exit_code)


def _run(reader: str, order: str, kept: tuple[int, ...], seconds: float) -> tuple[bytes, int, bool]:
    """What the reader wrote, its exit code, and whether it was killed for being late."""
    late = threading.Event()
    command = [sys.executable, "-P", "-m", reader, order]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell; the order is data
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        start_new_session=True,
        pass_fds=kept,
    ) as process:

        def stop() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
            output = process.stdout.read(MAX_ANSWER_BYTES + 1)
            if len(output) > MAX_ANSWER_BYTES:
                _kill(process)
            process.wait()
        finally:
            timer.cancel()
            _kill(process)
    return output, process.returncode, late.is_set()


def _environment() -> dict[str, str]:
    """Where to find Python's modules, and one thread and one arena each for libraries that would reserve many."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all it may have started; nothing happens where it is gone."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


def _checked_answer(what: str, output: bytes, exit_code: int) -> dict[str, Any]:
    damaged = MediaError("UnsupportedFileFormat", f"{what} cannot be read; send an undamaged or a smaller file")
    try:
        answer = json.loads(output) if len(output) <= MAX_ANSWER_BYTES else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise damaged from RuntimeError(f"the reader ended with {exit_code} and wrote {output[:200]!r}")
    if answer.pop("networked", False):
        logger.warning("media are read without a filter that takes the network away: this machine has none")
    if "reason" not in answer:
        return answer
    if answer["reason"] == NO_ROOM:
        raise OSError(errno.ENOSPC, f"no room for what is read of {what}; free some on the disk of the scratch folder")
    reason, message = answer["reason"], str(answer.get("message", ""))[:500]
    if reason not in REASONS or not message:
        raise damaged
    raise MediaError(reason, message) from RuntimeError(str(answer.get("detail", ""))[:2000])
