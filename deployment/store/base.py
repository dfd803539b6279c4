"""The task store's protocol: the verbs every database offers.

Rules. Each verb is one transaction and may be called from any thread. Times are seconds since the epoch by the store's
own clock. Writes of an owner name (task_id, owner, fence); they change nothing and return False when that claim is no
longer the task's lease. All verbs raise StoreUnavailable when the database does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment.store.upload_verbs import Upload, UploadStart
from deployment.webhooks.records import Delivery, DeliveryAttempt, DeliveryFilter
from hhray.metrics import RollupRow
from hhray.quotas import QuotaUse
from hhray.records import AuditRow, UsageRow
from hhray.request import ClipRequest
from hhray.tasks import (
    Artifact,
    Demand,
    EngineRecord,
    NewTask,
    Priority,
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


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A claimable task as an estimate needs it."""

    task_id: str
    tenant: str
    priority: Priority
    gpu_seconds: float


class TaskStore(Protocol):
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

    # --- tenants
    def quota_use(self, tenant: str) -> QuotaUse:
        """What a tenant has used of its quotas."""

    def usage(self, tenant: str | None, first_day: int, last_day: int) -> list[UsageRow]:
        """Sums of the days from first to last (days since the epoch, UTC), of one tenant or of all."""

    def audit(self, tenant: str | None, start: float, after: int, limit: int) -> list[AuditRow]:
        """Up to `limit` rows since `start` with a larger id than `after`, of one tenant or of all, by id."""

    def drop_audit(self, older_than_seconds: float) -> int:
        """Remove audit rows of that age; how many. The one way there is: the database refuses every other."""

    def forget(self, tenant: str, key_id: str = "") -> tuple[list[str], bool]:
        """Cancel and remove some tasks of a tenant; their ids, whose files the caller deletes, and whether others are
        left. Call it until none are. Sums of usage and the audit log, which holds hashes only, stay."""

    def close(self) -> None:
        """Close this process's connections."""

    # --- keys of creates
    def key_task_id(self, tenant: str, idempotency_key: str, fingerprint: str) -> str | None:
        """The task a living key names; None when it is free. Raises IdempotencyConflict as `create`."""

    def note_repost(self, tenant: str, repost_key: str, task_id: str, life_seconds: float) -> None:
        """A client went away unanswered: for `life_seconds` creates of its repost key get its task.

        `task_id` is empty while that create has not been committed.
        """

    def drop_create_keys(self) -> int:
        """Remove keys whose life is over, at most 1000; how many."""

    # --- uploads
    def begin_upload(self, upload: Upload, hold_seconds: float, most_bytes: int) -> UploadStart:
        """Set aside room for a file within the tenant's `most_bytes`, for `hold_seconds` until it is complete."""

    def finish_upload(self, upload_id: str, sha256: str, num_bytes: int, ttl_seconds: float) -> bool:
        """The file is complete and kept for `ttl_seconds`; False when its time had run out."""

    def drop_upload(self, upload_id: str) -> None:
        """Forget an upload; the caller deletes the file."""

    def upload(self, tenant: str, object_key: str) -> Upload | None:
        """The tenant's complete file of that name."""

    def has_upload(self, upload_id: str) -> bool:
        """Whether a file of that id is kept or on its way."""

    def expire_uploads(self) -> list[str]:
        """Remove uploads whose time is over, at most 1000; their ids, whose files the caller deletes."""

    def forget_uploads(self, tenant: str) -> list[str]:
        """Remove a tenant's uploads and the keys of its creates; the uploads' ids, whose files are the caller's."""

    def uploaded_bytes(self, tenant: str) -> int:
        """Bytes of all the tenant's uploads, as the quota counts them."""

    # --- webhooks
    def claim_webhooks(self, limit: int, lease_seconds: float, *, per_receiver: int, per_tenant: int) -> list[Delivery]:
        """Take up to `limit` deliveries that are due, the longest due first, for `lease_seconds`.

        Of one tenant at most `per_tenant` are claimed at a time by all processes together, and `per_receiver` to one
        host and port.
        """

    def webhook_answered(
        self, delivery_id: str, fence: int, status: int, detail: str, seconds: float, retry_seconds: float | None
    ) -> bool:
        """Note what came of the attempt `fence`: delivered (2xx), tried again later, or (None) given up.

        False when the delivery was claimed again or has ended since; nothing is noted then.
        """

    def webhooks(self, query: DeliveryFilter) -> list[Delivery]:
        """Deliveries, newest first."""

    def webhook_attempts(self, delivery_id: str) -> list[DeliveryAttempt]:
        """The log of one delivery, first attempt first; an attempt that nobody lived to note is missing."""

    def redeliver_webhook(self, delivery_id: str, tenant: str | None = None) -> bool:
        """Send it again, now and as often as a new one; False when it is gone, another tenant's or just being sent."""

    def drop_webhooks(self, keep_seconds: float, tenant: str | None = None) -> int:
        """Remove deliveries that old, with their logs; of all tenants or of one. How many deliveries."""

    # --- videos: delete, pages by cursor, and what an estimate is made from
    def delete(self, task_id: str, tenant: str, key_id: str = "") -> TaskState | None:
        """Take a task away from its client for good; the state it was in, None when there is none of this tenant's.

        One that ended goes at once, a PENDING one is cancelled and goes; their files are the caller's to delete. A
        RUNNING one is hidden and asked to stop, and goes with `expire` once it has ended CANCELED.
        """

    def page(self, tenant: str, after: str | None, limit: int, *, newest_first: bool) -> list[Task]:
        """Up to `limit` of a tenant's tasks by time of submit, those behind the task `after`; none when it is gone."""

    def find(self, task_ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that exist, in the order given, whoever's they are; deleted ones are left out."""

    def waiting(self) -> tuple[list[WaitingTask], float]:
        """All claimable tasks, oldest first, and the GPU-seconds left of the running ones."""
