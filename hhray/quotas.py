"""What a tenant may use, what it has used, and the refusal that says which limit is reached and until when.

Days and months are UTC. A clip is charged when it is created: its GPU-seconds by the cost model to the day, its seconds
of video to the month of its submit. What never becomes a clip (FAILED, CANCELED) is given back to that day and month;
a clip keeps its charge. Sums are whole milliseconds, so that they stay exact in whatever order they are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hhray.errors import InvalidParameter, RequestError, Throttled
from hhray.geometry import MAX_DURATION
from hhray.request import ClipRequest, Mode

DAY_SECONDS = 86400
# When a task of the tenant will end is not known; a client that comes back this often learns of it soon enough.
UNFINISHED_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Quota:
    """A tenant's limits; 0 is none. `create_burst` creates may come at once, then `creates_per_second`."""

    creates_per_second: float = 0.0
    create_burst: int = 1
    unfinished: int = 0
    gpu_seconds_per_day: float = 0.0
    video_seconds_per_month: float = 0.0

    @property
    def interval(self) -> float:
        """Seconds between two creates of an even stream; 0: there is no limit."""
        return 1.0 / self.creates_per_second if self.creates_per_second else 0.0

    @property
    def tolerance(self) -> float:
        """How far ahead of an even stream creates may be (the generic cell rate algorithm, ITU-T I.371)."""
        return self.interval * (self.create_burst - 1)

    @property
    def gpu_ms_per_day(self) -> int:
        return milliseconds(self.gpu_seconds_per_day)

    @property
    def video_ms_per_month(self) -> int:
        return milliseconds(self.video_seconds_per_month)


NO_QUOTA = Quota()


@dataclass(frozen=True, slots=True)
class Charge:
    """What one task takes of its tenant's day and month, in milliseconds."""

    gpu_ms: int
    video_ms: int


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What a tenant has used by `now`, seconds since the epoch: GPU and video milliseconds of this day and month.

    An even stream of creates would make its next one at `next_create_at`.
    """

    now: float
    next_create_at: float = 0.0
    unfinished: int = 0
    gpu_ms: int = 0
    video_ms: int = 0
    running: int = 0


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def utc_day(seconds: float) -> int:
    """The day of a time: days since the epoch."""
    return int(seconds // DAY_SECONDS)


def utc_month(seconds: float) -> int:
    """The month of a time: year * 100 + month."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.year * 100 + moment.month


def day_end(now: float) -> float:
    """When the day of `now` ends."""
    return float((utc_day(now) + 1) * DAY_SECONDS)


def month_end(now: float) -> float:
    """When the month of `now` ends."""
    year, month = divmod(utc_month(now), 100)
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()


def longest(request: ClipRequest) -> ClipRequest:
    """The request, or while the length of its source video is not known the longest it may turn out to be."""
    if request.mode is Mode.VIDEO_EDIT and not request.source_seconds:
        return request.model_copy(update={"duration": MAX_DURATION})
    return request


def charge_of(request: ClipRequest, gpu_seconds: float) -> Charge:
    """What a task takes. A video to edit whose length is not known yet takes the most there is until it is."""
    return Charge(milliseconds(gpu_seconds), milliseconds(longest(request).output_seconds))


def check_fits(quota: Quota, charge: Charge) -> None:
    """Refuse what no day and no month has room for.

    Raises:
        InvalidParameter: this one clip is more than the whole quota.
    """
    for limit, own, what in (
        (quota.gpu_ms_per_day, charge.gpu_ms, "GPU-seconds a day"),
        (quota.video_ms_per_month, charge.video_ms, "seconds of video a month"),
    ):
        if limit and own > limit:
            raise InvalidParameter(
                f"parameters: this clip alone takes {own / 1000:g} of the {limit / 1000:g} {what} that the tenant has; "
                "ask for a smaller or shorter one."
            )


def refusal(quota: Quota, use: QuotaUse, charge: Charge) -> RequestError:
    """Why a create is refused; of several reasons the one that lasts longest, so that Retry-After is true."""
    found: list[Throttled] = []
    limit = quota.video_ms_per_month
    if limit and use.video_ms + charge.video_ms > limit:
        found.append(_used_up("seconds of video a month", use.video_ms, limit, month_end(use.now) - use.now))
    limit = quota.gpu_ms_per_day
    if limit and use.gpu_ms + charge.gpu_ms > limit:
        found.append(_used_up("GPU-seconds a day", use.gpu_ms, limit, day_end(use.now) - use.now))
    if quota.unfinished and use.unfinished >= quota.unfinished:
        text = f"The tenant's quota of {quota.unfinished} tasks that wait or run is used up; please try again later."
        found.append(Throttled(text, UNFINISHED_RETRY_SECONDS))
    wait = use.next_create_at - quota.tolerance - use.now
    if quota.interval and wait > 0:
        text = f"Requests rate limit exceeded ({quota.creates_per_second:g} creates a second), please try again later."
        found.append(Throttled(text, wait, "RateQuota"))
    return max(found, key=lambda one: one.retry_after_seconds, default=Throttled("Please try again.", 1.0))


def _used_up(what: str, used: int, limit: int, seconds: float) -> Throttled:
    return Throttled(
        f"The tenant's quota of {limit / 1000:g} {what} leaves {max(0, limit - used) / 1000:g}, less than this clip "
        "takes; please try again when it is renewed.",
        seconds,
    )
