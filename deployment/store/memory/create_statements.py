"""The statements about keys of creates, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from deployment.store.memory.tables import Cells, Tables


class CreateKeyStatements:
    """`now` is when the transaction began."""

    tables: Tables
    now: float

    def _put_create_key(self, tenant: str, name: str, task_id: str, fingerprint: str, life_seconds: float) -> None:
        row = {"tenant": tenant, "name": name, "task_id": task_id, "fingerprint": fingerprint}
        self.tables.create_keys.put((tenant, name), {**row, "expires_at": self.now + life_seconds})

    def take_create_key(self, tenant: str, name: str, task_id: str, fingerprint: str, life_seconds: float) -> int:
        if self.create_key(tenant, name):
            return 0
        self._put_create_key(tenant, name, task_id, fingerprint, life_seconds)
        return 1

    def create_key(self, tenant: str, name: str) -> list[Cells]:
        row = self.tables.create_keys.get((tenant, name))
        return [row] if row is not None and row["expires_at"] > self.now else []

    def open_repost(self, tenant: str, name: str) -> list[Cells]:
        if (tenant, name) not in self.tables.create_keys:
            self._put_create_key(tenant, name, "", "", 0.0)
        row = self.tables.create_keys.get((tenant, name)) or {}
        return [{"task_id": row["task_id"], "live": int(row["expires_at"] > self.now)}]

    def name_repost(self, tenant: str, name: str, task_id: str) -> int:
        return self.tables.create_keys.update((tenant, name), task_id=task_id)

    def note_repost(self, tenant: str, name: str, task_id: str, life_seconds: float) -> int:
        self._put_create_key(tenant, name, task_id, "", life_seconds)
        return 1

    def drop_create_keys(self, limit: int) -> int:
        over = [row for row in self.tables.create_keys if row["expires_at"] <= self.now]
        over.sort(key=lambda row: (row["expires_at"], row["tenant"], row["name"]))
        return sum(self.tables.create_keys.delete((row["tenant"], row["name"])) for row in over[:limit])
