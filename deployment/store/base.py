"""The task store's protocol: the verbs every database offers.

Rules. Each verb is one transaction and may be called from any thread. Times are seconds since the epoch by the store's
own clock. Writes of an owner name (task_id, owner, fence); they change nothing and return False when that claim is no
longer the task's lease. All verbs raise StoreUnavailable when the database does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment.store.api_verbs import ApiVerbs
from hhray.metrics import RollupRow
from hhray.request import ClipRequest
from hhray.tasks import (
    Artifact,
    Demand,
    EngineRecord,
    NewTask,
    Progress,
    QueueDepth,
    QueuedTask,
    Task,
    TaskState,
)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What `list_tasks` selects; times are inclusive bounds on submit time."""

    tenant: str
    task_id: str | None = None
    model: str | None = None
    state: TaskState | None = None
    start: float | None = None
    end: float | None = None
    page: int = 1
    page_size: int = 10


@dataclass(frozen=True, slots=True)
class Claim:
    """A task an owner holds: the row as claimed; `task.attempt` is the fence."""

    task: Task
    owner: str

    @property
    def fence(self) -> int:
        return self.task.attempt


@dataclass(frozen=True, slots=True)
class LeaseView:
    """What a renewal tells the owner about one of its tasks."""

    held: bool
    cancel_requested: bool


class TaskStore(ApiVerbs, Protocol):
    """See the module's docstring for the rules."""

    # --- clients
    def create(self, new: NewTask) -> Task:
        """Insert a PENDING task, or return the one of the same (tenant, idempotency key).

        One whose key lives but whose row is gone comes back in state UNKNOWN.

        Raises:
            IdempotencyConflict: the key's fingerprint is another.
            Throttled, InvalidParameter: the tenant's quota has no room for it.
        """

    def create_failed(self, new: NewTask, code: str, message: str) -> Task:
        """Insert a task that is FAILED from the start; its idempotency key stays free."""

    def get(self, task_id: str, tenant: str | None = None) -> Task | None:
        """The task; None when it is gone or (tenant given) another tenant's."""

    def list_tasks(self, query: TaskFilter) -> tuple[list[Task], int]:
        """One page, newest first, and the number of all matches."""

    def cancel_pending(self, task_id: str, tenant: str | None, key_id: str = "") -> bool:
        """PENDING -> CANCELED; False when it was not PENDING, gone or another tenant's."""

    def request_cancel(self, task_id: str, tenant: str | None, key_id: str = "") -> bool:
        """Cancel a PENDING task at once; mark a RUNNING one so that its owner stops it between steps."""

    def queue_position(self, task_id: str) -> int | None:
        """Claimable tasks submitted before this one (0 = next); None when it is not waiting."""

    def depth(self) -> QueueDepth:
        """Counts and GPU-seconds of waiting (PENDING, ready or not) and running tasks."""

    # --- media intake
    def claim_media(self, owner: str, lease_seconds: float, task_id: str | None = None) -> Task | None:
        """Take the oldest PENDING task whose media is not ready (or this one) for `lease_seconds`."""

    def media_ready(self, task_id: str, owner: str, request: ClipRequest, gpu_seconds: float) -> bool:
        """Store the completed request and make the task claimable; False when the media claim was lost."""

    def media_failed(self, task_id: str, owner: str, code: str, message: str) -> bool:
        """PENDING -> FAILED; False when the media claim was lost."""

    # --- router
    def queued(self, after_sequence: int = 0) -> list[QueuedTask]:
        """Claimable tasks with a larger sequence, by sequence."""

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """Sleep until a task becomes claimable whose sequence is larger, at most `timeout` seconds.

        Returns the largest sequence given out so far: `after_sequence` or less when nothing came. A hint: that task may
        be claimed already. Give the answer to the next call.
        """

    def reap(self, max_faults: int) -> list[tuple[str, TaskState]]:
        """Requeue tasks whose lease ran out, counting a fault; FAILED at `max_faults`. Returns what became of each.

        At most 1000 at a time, as `expire`: call it again for more.
        """

    def expire(self) -> list[tuple[str, str]]:
        """Remove tasks past their expiry unless they run; id and tenant of each, whose files the caller deletes."""

    def demand(self, window_seconds: float) -> Demand:
        """The work that waits, runs, and arrived within the last `window_seconds`, as one snapshot."""

    # --- engines
    def claim(self, task_ids: Sequence[str], owner: str, lease_seconds: float) -> list[Claim]:
        """PENDING and ready -> RUNNING, attempt + 1, for those of `task_ids` still so, in the order given."""

    def claim_oldest(self, owner: str, lease_seconds: float, limit: int) -> list[Claim]:
        """The same for the oldest claimable task and up to `limit` in all of its bucket, oldest first."""

    def renew(self, owner: str, lease_seconds: float, progress: dict[str, Progress]) -> dict[str, LeaseView]:
        """Extend this owner's leases on the given tasks and record their progress, in one transaction."""

    def release(self, task_id: str, owner: str, fence: int, *, fault: str = "", max_faults: int = 0) -> bool:
        """RUNNING -> PENDING. A non-empty `fault` says what broke and counts; at `max_faults` the task is FAILED."""

    def publish(
        self,
        task_id: str,
        owner: str,
        fence: int,
        artifact: Artifact,
        stages: dict[str, float],
        notice: str,
        facts: Mapping[str, str] | None = None,
    ) -> Task | None:
        """RUNNING -> SUCCEEDED with artifact and one metric event, in one transaction; None when the lease was lost."""

    def fail(self, task_id: str, owner: str, fence: int, code: str, message: str, stages: dict[str, float]) -> bool:
        """RUNNING -> FAILED with one metric event."""

    def cancel_running(self, task_id: str, owner: str, fence: int, stages: dict[str, float]) -> bool:
        """RUNNING -> CANCELED with one metric event, once the owner has stopped."""

    # --- engines' heartbeats, drain, learned costs
    def heartbeat(self, record: EngineRecord) -> float | None:
        """Record that an engine of this cluster lives; returns the drain deadline, None when there is no drain."""

    def engines(self, fresh_seconds: float) -> list[EngineRecord]:
        """Engines of this cluster whose heartbeat is at most that old."""

    def set_drain(self, seconds: float | None) -> None:
        """Ask this cluster's engines to stop claiming now and to give up running clips after `seconds`.

        None ends the drain.
        """

    def save_costs(self, rows: Mapping[str, str]) -> None:
        """Keep what was learned about the cost of these classes (JSON text by name); other classes stay."""

    def costs(self) -> dict[str, str]:
        """What was learned so far, by name of the class."""

    # --- metrics
    def fold(self) -> int:
        """Add events past the watermark to the rollup rows and drop them; how many."""

    def metric_rows(self) -> list[RollupRow]:
        """Rollup rows plus the events not folded yet, as one snapshot."""

    def close(self) -> None:
        """Close this process's connections."""
