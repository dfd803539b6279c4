"""What is kept of a tenant's work after its tasks are gone: sums for the bill, and who did what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Clips of one tenant, day (UTC, of their end), model, tier and mode.

    `clips` succeeded; their seconds of video and their GPU-seconds by the cost model are summed. What failed or was
    cancelled is counted and costs nothing.
    """

    tenant: str
    day: str
    model: str
    resolution: str
    mode: str
    clips: int
    failures: int
    cancels: int
    video_seconds: float
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that happened to a task: `what` is create, cancel, succeeded, failed, canceled or forget.

    `at` is seconds since the epoch; `key_id` names the key that asked, empty where nobody did. `prompt_hash` is
    HMAC-SHA256 under the server's secret: it shows that two prompts are equal, and lets nobody guess short ones.
    `weights`, `layout` and `result` (SHA-256 of the file) are those of a clip; `code` is why a task failed.
    """

    audit_id: int
    at: float
    what: str
    tenant: str
    key_id: str
    task_id: str
    prompt_hash: str
    model: str
    seed: int
    weights: str
    layout: str
    result: str
    code: str


def day_name(day: int) -> str:
    """A day, in days since the epoch, as YYYY-MM-DD."""
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d")


def day_number(name: str) -> int:
    """Inverse of `day_name`.

    Raises:
        ValueError: it is no such day.
    """
    moment = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    return int(moment.timestamp() // 86400)
