"""The statements about webhooks, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from collections import Counter
from typing import Any

from deployment.store.memory.tables import Cells, Tables

_NEW: Cells = {
    "state": "WAITING",
    "attempts": 0,
    "tries": 0,
    "lease_until": 0.0,
    "ended_at": None,
    "last_status": 0,
}


class WebhookStatements:
    """`now` is when the transaction began."""

    tables: Tables
    now: float

    def insert_webhook(self, delivery_id: str, **cells: Any) -> int:  # noqa: ANN401 - columns
        if delivery_id in self.tables.webhook_deliveries:
            return 0
        times = {"created_at": self.now, "began_at": self.now, "due_at": self.now}
        self.tables.webhook_deliveries.insert(delivery_id, delivery_id=delivery_id, **_NEW, **times, **cells)
        return 1

    def _is_free(self, row: Cells) -> bool:
        return bool(row["state"] == "WAITING" and row["lease_until"] <= self.now)

    def webhook_candidates(self, limit: int, per_receiver: int, per_tenant: int) -> list[Cells]:
        due = [row for row in self.tables.webhook_deliveries if row["state"] == "WAITING" and row["due_at"] <= self.now]
        due.sort(key=lambda row: (self._is_free(row), row["due_at"], row["delivery_id"]))
        by_receiver, by_tenant = Counter[tuple[str, str]](), Counter[str]()
        chosen = []
        for row in due:
            by_receiver[row["tenant"], row["receiver"]] += 1
            if by_receiver[row["tenant"], row["receiver"]] > per_receiver:
                continue
            by_tenant[row["tenant"]] += 1
            if by_tenant[row["tenant"]] <= per_tenant and self._is_free(row):
                chosen.append(row)
        return sorted(chosen, key=lambda row: (row["due_at"], row["delivery_id"]))[:limit]

    def claim_webhooks(self, delivery_ids: list[str], lease_seconds: float) -> list[Cells]:
        claimed = []
        for delivery_id in delivery_ids:
            row = self.tables.webhook_deliveries.get(delivery_id)
            if row is None or not self._is_free(row):
                continue
            counted = {"attempts": row["attempts"] + 1, "tries": row["tries"] + 1}
            changed = {**counted, "lease_until": self.now + lease_seconds}
            self.tables.webhook_deliveries.update(delivery_id, **changed)
            claimed.append({**row, **changed, "waited_seconds": self.now - row["began_at"]})
        return claimed

    def webhook_answered(self, delivery_id: str, fence: int, state: str, status: int, wait_seconds: float) -> int:
        row = self.tables.webhook_deliveries.get(delivery_id)
        if row is None or (row["attempts"], row["state"]) != (fence, "WAITING"):
            return 0
        return self.tables.webhook_deliveries.update(
            delivery_id,
            state=state,
            lease_until=0.0,
            due_at=self.now + wait_seconds,
            ended_at=None if state == "WAITING" else self.now,
            last_status=status,
        )

    def insert_webhook_attempt(self, delivery_id: str, attempt: int, **cells: Any) -> int:  # noqa: ANN401 - columns
        key = f"{delivery_id}/{attempt:09d}"
        self.tables.webhook_attempts.insert(key, delivery_id=delivery_id, attempt=attempt, at=self.now, **cells)
        return 1

    def webhooks(self, limit: int, **equal: str | None) -> list[Cells]:
        wanted = {name: value for name, value in equal.items() if value is not None}
        found = [row for row in self.tables.webhook_deliveries if all(row[name] == wanted[name] for name in wanted)]
        return sorted(found, key=lambda row: (-row["created_at"], row["delivery_id"]))[:limit]

    def webhook_attempts(self, delivery_id: str) -> list[Cells]:
        found = [row for row in self.tables.webhook_attempts if row["delivery_id"] == delivery_id]
        return sorted(found, key=lambda row: int(row["attempt"]))

    def redeliver_webhook(self, delivery_id: str, tenant: str | None) -> int:
        row = self.tables.webhook_deliveries.get(delivery_id)
        if row is None or tenant not in (None, row["tenant"]) or row["lease_until"] > self.now:
            return 0
        again = {"state": "WAITING", "tries": 0, "ended_at": None}
        return self.tables.webhook_deliveries.update(delivery_id, began_at=self.now, due_at=self.now, **again)

    def drop_webhook_attempts(self, keep_seconds: float, tenant: str | None) -> int:
        old = {row["delivery_id"] for row in self._old_webhooks(keep_seconds, tenant)}
        log = self.tables.webhook_attempts
        doomed = [f"{row['delivery_id']}/{row['attempt']:09d}" for row in log if row["delivery_id"] in old]
        return sum(log.delete(key) for key in doomed)

    def drop_webhooks(self, keep_seconds: float, tenant: str | None) -> int:
        old = [row["delivery_id"] for row in self._old_webhooks(keep_seconds, tenant)]
        return sum(self.tables.webhook_deliveries.delete(delivery_id) for delivery_id in old)

    def _old_webhooks(self, keep_seconds: float, tenant: str | None) -> list[Cells]:
        return [
            row
            for row in self.tables.webhook_deliveries
            if row["began_at"] <= self.now - keep_seconds and tenant in (None, row["tenant"])
        ]
