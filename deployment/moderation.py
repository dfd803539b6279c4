"""The moderation hook: prompts, inputs and finished frames pass a check that the operator names, or none.

The check may block and may fail. It runs on threads of its own with a time limit, and what a failure means is the
operator's decision (`moderation.on_error`). A check that never returns keeps its thread; once all are kept, every
further one fails. Neither prompts nor what the check says of them are logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import StrEnum
from operator import methodcaller
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from deployment.sampled_frames import sampled_frames
from hhray.errors import ConfigError, DataInspectionFailed, ModerationUnavailable
from hhray.moderation_settings import ModerationSettings, OnHookError
from hhray.plugin import make_plugin
from hhray.request import ClipRequest, MediaType

logger = logging.getLogger("ray.serve")
SETTING = "moderation.check"
METHODS = ("check_text", "check_file", "check_frames")


class Verdict(StrEnum):
    """What a check found. Anything else that it returns counts as a failure of the check."""

    PASSED = "passed"
    REFUSED = "refused"


class ModerationCheck(Protocol):
    """A class of these methods; calls come from several threads. An exception is a failure of the check."""

    def check_text(self, text: str) -> Verdict:
        """A prompt, or what is to be said in a clip, as the client wrote it."""

    def check_file(self, path: Path, kind: MediaType) -> Verdict:
        """A picture or a video that a client gave: the file as it came, decoded by nobody yet but for its size."""

    def check_frames(self, frames: Sequence[NDArray[np.uint8]]) -> Verdict:
        """Frames of a finished clip, RGB [H, W, 3], from the first to the last, evenly spaced."""


class Moderation:
    """Asks a check; without one everything passes."""

    def __init__(self, check: ModerationCheck | None, settings: ModerationSettings) -> None:
        self._check, self._settings = check, settings
        self._free = threading.Semaphore(settings.threads)

    def check_request(self, request: ClipRequest) -> None:
        """A prompt and what is to be said.

        Raises:
            DataInspectionFailed: refused.
            ModerationUnavailable: the check failed, and nothing unchecked is let through.
        """
        for text in filter(None, (request.prompt, request.dialogue)):
            self._ask("Input", methodcaller("check_text", text))

    def check_media(self, path: Path, kind: MediaType) -> None:
        """A file that a client gave, where it lies now.

        Raises:
            DataInspectionFailed, ModerationUnavailable: as `check_request`.
        """
        self._ask("Input", methodcaller("check_file", path, kind))

    def check_clip(self, path: Path) -> None:
        """Some frames of a finished clip.

        Raises:
            DataInspectionFailed, ModerationUnavailable: as `check_request`.
        """
        if self._settings.frames:
            count = self._settings.frames
            self._ask("Output", lambda check: check.check_frames(sampled_frames(path, count)))

    def _ask(self, what: str, call: Callable[[ModerationCheck], Verdict]) -> None:
        if self._check is None:
            return
        verdict, failure = self._answer(self._check, call)
        if verdict is Verdict.PASSED:
            return
        if verdict is Verdict.REFUSED:
            raise DataInspectionFailed(what)
        if self._settings.on_error is OnHookError.REFUSE:
            raise ModerationUnavailable(f"the moderation check {failure}; see moderation.on_error")
        logger.warning("the moderation check %s: allowed, as moderation.on_error says", failure)

    def _answer(self, check: ModerationCheck, call: Callable[[ModerationCheck], Verdict]) -> tuple[Verdict | None, str]:
        """The verdict, or None and what is wrong with the check."""
        deadline = time.monotonic() + self._settings.timeout_seconds
        late = f"did not answer within {self._settings.timeout_seconds:g} s"
        if not self._free.acquire(timeout=self._settings.timeout_seconds):
            return None, late
        answer: Future[Verdict] = Future()
        threading.Thread(target=self._run, args=(check, call, answer), name="moderation", daemon=True).start()
        try:
            verdict = answer.result(max(0.0, deadline - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - a check may raise anything, and its words may repeat the prompt
            is_late = isinstance(error, TimeoutError) and not answer.done()
            return None, late if is_late else f"failed with {type(error).__name__}"
        if isinstance(verdict, Verdict):
            return verdict, ""
        return None, f"answered with {type(verdict).__name__}, not with a Verdict"

    def _run(self, check: ModerationCheck, call: Callable[[ModerationCheck], Verdict], answer: Future[Verdict]) -> None:
        try:
            answer.set_result(call(check))
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            answer.set_exception(error)
        finally:
            self._free.release()


def open_moderation(settings: ModerationSettings) -> Moderation:
    """The hook that the settings name.

    Raises:
        ConfigError: there is no such class, it lacks a method, or it cannot be made with its options.
    """
    if not settings.check:
        if settings.options:
            raise ConfigError("moderation.options are for a check; name one in moderation.check")
        return Moderation(None, settings)
    made = make_plugin(SETTING, settings.check, settings.options, has=METHODS)
    return Moderation(cast(ModerationCheck, made), settings)
