"""The one exception tree of hhray.

HhrayError
├── RequestError            the client can mend it; carries the wire code and HTTP status
│   ├── InvalidParameter    400  a value is missing, of the wrong type or out of range
│   ├── EmptyField          400  a top-level key of the body is missing
│   ├── IllegalInput        400  the body is not a JSON object
│   ├── InvalidURL          400  an address that cannot or must not be fetched
│   ├── MediaError          400  a media file cannot be fetched, is too large or is no image
│   ├── DataInspectionFailed 400 moderation refused a prompt, an input or the finished clip
│   ├── UnsupportedOperation 400 the operation does not fit the task's state
│   ├── InvalidApiKey       401  no key, or a wrong one
│   ├── AccessDenied        403  a good key that may not do this
│   ├── NotFound            404  no such route or file
│   ├── IdempotencyConflict 422  the Idempotency-Key belongs to another request
│   ├── BodyTooLarge        413  more came than is ever read
│   ├── RequestTimeout      408  the body stood still for too long
│   └── Throttled           429  come back after `retry_after_seconds`
├── ServiceError            the server's fault
│   ├── StoreUnavailable    503  the task store does not answer; retry
│   ├── ArtifactsUnavailable 503 the store of files takes or gives no file; retry
│   │   └── DiskFull        503  a disk has no room left
│   ├── ModerationUnavailable 503 the moderation hook fails or takes too long; retry
│   ├── MarkingFailed       500  a clip lacks a mark that it must have; it is not published
│   ├── LeaseLost           the task belongs to another owner now; drop the work
│   └── EngineFault         500  a gang failed; the task goes to another attempt
│       ├── GangDied        a rank process is gone
│       └── PhaseTimeout    a phase outran its watchdog
├── ConfigError             settings or machine do not fit; raised before anything starts
└── ClientError             raised by hhray.client
    ├── ServerUnreachable   nobody answers at that URL
    ├── RequestRefused      the server refused; carries its code and message
    ├── WaitTimeout         the task had not ended when the client's patience ran out
    └── TaskFailed          the task ended FAILED, CANCELED or UNKNOWN
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self


class HhrayError(Exception):
    """Root of the tree. `code` is the wire code, `status` the HTTP status, `retryable` whether a retry can help."""

    code: str = "InternalError"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.code

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; their constructors do not take `args`, so they are revived without them.
        return _revive, (type(self), self.args, dict(self.__dict__))


def _revive(cls: type[HhrayError], args: tuple[Any, ...], attributes: dict[str, Any]) -> HhrayError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class RequestError(HhrayError):
    """Something the client sent is wrong; the message says what was expected."""

    code = "InvalidParameter"
    status = 400


class InvalidParameter(RequestError):
    """A value is missing, of the wrong type, or out of range."""


class EmptyField(RequestError):
    """A top-level key of the body is missing; `field` is "Input", "Parameters" or "Model"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.code = f"BadRequest.Empty{field}"


class IllegalInput(RequestError):
    """The body is not a JSON object."""

    code = "BadRequest.IllegalInput"


class InvalidURL(RequestError):
    """An address that is malformed, or that this server must not fetch."""

    code = "InvalidURL"


class MediaError(RequestError):
    """A media file cannot be used; `reason` is InputDownloadFailed, UnsupportedFileFormat or TooLarge."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = f"BadRequest.{reason}"


class DataInspectionFailed(RequestError):
    """Moderation refused it; `what` is "Input" or "Output"."""

    code = "DataInspectionFailed"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} data may contain inappropriate content.")


class UnsupportedOperation(RequestError):
    """The operation does not fit the task's state."""

    code = "UnsupportedOperation"


class InvalidApiKey(RequestError):
    """No API key, or a wrong one."""

    code = "InvalidApiKey"
    status = 401


class AccessDenied(RequestError):
    """The key is good, but this is not allowed to it."""

    code = "AccessDenied"
    status = 403


class NotFound(RequestError):
    """No such route, task file or model."""

    code = "NotFound"
    status = 404


class IdempotencyConflict(RequestError):
    """The Idempotency-Key was given to a request with another body within the last 24 hours."""

    code = "IdempotencyConflict"
    status = 422


class BodyTooLarge(RequestError):
    """More bytes came with the request than this server ever reads."""

    code = "BadRequest.TooLarge"
    status = 413


class RequestTimeout(RequestError):
    """The client stopped in the middle of its body."""

    code = "RequestTimeOut"
    status = 408
    retryable = True


class Throttled(RequestError):
    """Too much work is queued or was asked for; come back after `retry_after_seconds`. `quota` ends the wire code."""

    code = "Throttling.AllocationQuota"
    status = 429
    retryable = True

    def __init__(self, message: str, retry_after_seconds: float, quota: str = "AllocationQuota") -> None:
        super().__init__(message)
        self.code = f"Throttling.{quota}"
        self.retry_after_seconds = retry_after_seconds


class ServiceError(HhrayError):
    """The server's own fault."""


class StoreUnavailable(ServiceError):
    """The task store does not answer."""

    code = "ModelUnavailable"
    status = 503
    retryable = True


class ArtifactsUnavailable(ServiceError):
    """The store of files takes or gives no file now. Tasks that meet it are not to blame."""

    code = "ModelUnavailable"
    status = 503
    retryable = True


class DiskFull(ArtifactsUnavailable):
    """A disk - of the store of files, or the scratch disk of an engine - has no room left."""


class ModerationUnavailable(ServiceError):
    """The moderation hook fails or takes too long, and what is not checked is not let through."""

    code = "ModelUnavailable"
    status = 503
    retryable = True


class MarkingFailed(ServiceError):
    """A written clip lacks a mark that it must have, or could not be signed; it is never published."""


class LeaseLost(ServiceError):
    """The task was taken over, cancelled or removed: this owner must drop it without writing."""


class EngineFault(ServiceError):
    """A gang failed while it ran a clip; the task is requeued or, after too many faults, FAILED.

    `ranks` are those in which it failed, as far as that is known; empty: unknown.
    """

    retryable = True
    ranks: frozenset[int] = frozenset()

    def at(self, ranks: Iterable[int]) -> Self:
        """The same fault, in these ranks."""
        self.ranks = frozenset(ranks)
        return self


class GangDied(EngineFault):
    """A rank process is gone."""


class PhaseTimeout(EngineFault):
    """A phase outran its watchdog."""

    code = "InternalError.Timeout"


class ConfigError(HhrayError):
    """Settings, files or machine do not fit what was asked; raised before anything is started."""


class ClientError(HhrayError):
    """Raised by `hhray.client` and the client verbs."""


class ServerUnreachable(ClientError):
    """Nobody answers at the given URL."""

    retryable = True


class RequestRefused(ClientError):
    """The server answered with an error; `code`, `http_status` and `retry_after_seconds` are the server's."""

    def __init__(self, code: str, message: str, http_status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


class WaitTimeout(ClientError):
    """The task had not ended when the client's patience ran out; it goes on, and can be waited for again."""

    code = "WaitTimeout"
    retryable = True


class TaskFailed(ClientError):
    """The task reached a terminal state other than SUCCEEDED."""

    def __init__(self, task_id: str, state: str, code: str, message: str) -> None:
        super().__init__(f"task {task_id} ended {state}: {code}: {message}")
        self.task_id, self.state, self.code = task_id, state, code
