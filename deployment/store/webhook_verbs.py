"""The store's verbs about webhooks: an outbox that several processes empty without sending anything twice at a time."""

from __future__ import annotations

from deployment.store.rows import delivery_of
from deployment.store.statements import Database, Transaction
from deployment.webhooks.event import event_body, event_id, receiver_of
from deployment.webhooks.records import Delivery, DeliveryAttempt, DeliveryFilter, DeliveryState
from deployment.webhooks.schedule import is_delivered
from hhray.tasks import Task


def insert_webhook(transaction: Transaction, ended: Task) -> None:
    """The event of a task that has just ended, if anybody is to be told of it; in the transaction of its end."""
    if ended.webhook:
        transaction.run(
            "insert_webhook",
            delivery_id=event_id(ended.task_id),
            task_id=ended.task_id,
            tenant=ended.tenant,
            receiver=receiver_of(ended.webhook),
            url=ended.webhook,
            body=event_body(ended),
        )


class WebhookVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_webhooks(self, limit: int, lease_seconds: float, *, per_receiver: int, per_tenant: int) -> list[Delivery]:
        """Take up to `limit` deliveries that are due, the longest due first, for `lease_seconds`."""
        # Chosen by a reader, who holds nobody up however long the queue is; the claim itself looks at each row again.
        with self._database.read() as transaction:
            rows = transaction.all("webhook_candidates", limit=limit, per_receiver=per_receiver, per_tenant=per_tenant)
        found = [row["delivery_id"] for row in rows]
        if not found:
            return []
        with self._database.write() as transaction:
            claimed = transaction.all("claim_webhooks", delivery_ids=found, lease_seconds=float(lease_seconds))
        taken = {row["delivery_id"]: delivery_of(row) for row in claimed}
        return [taken[delivery_id] for delivery_id in found if delivery_id in taken]

    def webhook_answered(
        self, delivery_id: str, fence: int, status: int, detail: str, seconds: float, retry_seconds: float | None
    ) -> bool:
        """Note what came of the attempt `fence`: delivered, tried again later, or (None) given up.

        False when the delivery was claimed again or has ended since; nothing is noted then.
        """
        if is_delivered(status):
            state = DeliveryState.DELIVERED
        else:
            state = DeliveryState.GIVEN_UP if retry_seconds is None else DeliveryState.WAITING
        with self._database.write() as transaction:
            noted = transaction.run(
                "webhook_answered",
                delivery_id=delivery_id,
                fence=fence,
                state=state.value,
                status=status,
                wait_seconds=float(retry_seconds or 0.0),
            )
            if noted:
                transaction.run(
                    "insert_webhook_attempt",
                    delivery_id=delivery_id,
                    attempt=fence,
                    seconds=float(seconds),
                    status=status,
                    detail=detail,
                )
        return bool(noted)

    def webhooks(self, query: DeliveryFilter) -> list[Delivery]:
        """Deliveries, newest first."""
        with self._database.read() as transaction:
            rows = transaction.all(
                "webhooks",
                tenant=query.tenant,
                task_id=query.task_id,
                state=query.state and query.state.value,
                limit=query.limit,
            )
        return [delivery_of(row) for row in rows]

    def webhook_attempts(self, delivery_id: str) -> list[DeliveryAttempt]:
        """The log of one delivery, first attempt first; an attempt that nobody lived to note is missing."""
        with self._database.read() as transaction:
            rows = transaction.all("webhook_attempts", delivery_id=delivery_id)
        return [
            DeliveryAttempt(row["attempt"], row["at"], row["seconds"], row["status"], row["detail"]) for row in rows
        ]

    def redeliver_webhook(self, delivery_id: str, tenant: str | None = None) -> bool:
        """Send it again, now and as often as a new one; False when it is gone, another tenant's or just being sent."""
        with self._database.write() as transaction:
            return bool(transaction.run("redeliver_webhook", delivery_id=delivery_id, tenant=tenant))

    def drop_webhooks(self, keep_seconds: float, tenant: str | None = None) -> int:
        """Remove deliveries that old, with their logs; of all tenants or of one. How many deliveries."""
        with self._database.write() as transaction:
            transaction.run("drop_webhook_attempts", keep_seconds=float(keep_seconds), tenant=tenant)
            return transaction.run("drop_webhooks", keep_seconds=float(keep_seconds), tenant=tenant)
