"""The verbs that the API needs beyond a task's way: tenants, keys of creates, uploads, webhooks, videos.

The rules are those of deployment.store.base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment.store.upload_verbs import Upload, UploadStart
from deployment.webhooks.records import Delivery, DeliveryAttempt, DeliveryFilter
from hhray.quotas import QuotaUse
from hhray.records import AuditRow, UsageRow
from hhray.tasks import Priority, Task, TaskState


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A claimable task as an estimate needs it."""

    task_id: str
    tenant: str
    priority: Priority
    gpu_seconds: float


class ApiVerbs(Protocol):
    """A part of TaskStore."""

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
