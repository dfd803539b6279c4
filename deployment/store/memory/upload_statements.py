"""The statements about uploads, over tables in memory; queries.sql says what they do."""

from __future__ import annotations

from deployment.store.memory.tables import Cells, Tables


class UploadStatements:
    """`now` is when the transaction began."""

    tables: Tables
    now: float

    def insert_upload(
        self, upload_id: str, tenant: str, model: str, object_key: str, num_bytes: int, hold_seconds: float
    ) -> int:
        if any((row["tenant"], row["object_key"]) == (tenant, object_key) for row in self.tables.uploads):
            return 0
        given = {"upload_id": upload_id, "tenant": tenant, "model": model, "object_key": object_key}
        expires_at = self.now + hold_seconds
        self.tables.uploads.insert(upload_id, **given, num_bytes=num_bytes, sha256="", expires_at=expires_at)
        return 1

    def take_upload_room(self, tenant: str, num_bytes: int, most_bytes: int) -> int:
        row = self.tables.upload_totals.get(tenant)
        if row is not None and row["num_bytes"] + num_bytes > most_bytes:
            return 0
        self.tables.upload_totals.put(tenant, {"num_bytes": num_bytes + (row["num_bytes"] if row else 0)})
        return 1

    def give_upload_room(self, tenant: str, num_bytes: int) -> int:
        row = self.tables.upload_totals.get(tenant)
        return 0 if row is None else self.tables.upload_totals.update(tenant, num_bytes=row["num_bytes"] - num_bytes)

    def open_upload(self, upload_id: str) -> list[Cells]:
        row = self.tables.uploads.get(upload_id)
        return [row] if row is not None and not row["sha256"] else []

    def finish_upload(self, upload_id: str, num_bytes: int, sha256: str, ttl_seconds: float) -> int:
        if not self.open_upload(upload_id):
            return 0
        given = {"num_bytes": num_bytes, "sha256": sha256}
        return self.tables.uploads.update(upload_id, **given, expires_at=self.now + ttl_seconds)

    def upload(self, tenant: str, object_key: str) -> list[Cells]:
        return [
            row
            for row in self.tables.uploads
            if (row["tenant"], row["object_key"]) == (tenant, object_key)
            and row["sha256"]
            and row["expires_at"] > self.now
        ]

    def upload_row(self, upload_id: str) -> list[Cells]:
        row = self.tables.uploads.get(upload_id)
        return [] if row is None else [row]

    def drop_upload(self, upload_id: str) -> list[Cells]:
        rows = self.upload_row(upload_id)
        self.tables.uploads.delete(upload_id)
        return rows

    def drop_expired_uploads(self, limit: int) -> list[Cells]:
        over = [row for row in self.tables.uploads if row["expires_at"] <= self.now]
        over.sort(key=lambda row: (row["expires_at"], row["upload_id"]))
        for row in over[:limit]:
            self.tables.uploads.delete(row["upload_id"])
        return over[:limit]

    def upload_total(self, tenant: str) -> list[Cells]:
        row = self.tables.upload_totals.get(tenant)
        return [{"num_bytes": row["num_bytes"] if row else 0}]

    def drop_uploads_of(self, tenant: str) -> list[Cells]:
        found = [row for row in self.tables.uploads if row["tenant"] == tenant]
        for row in found:
            self.tables.uploads.delete(row["upload_id"])
        return found

    def drop_upload_total(self, tenant: str) -> int:
        return self.tables.upload_totals.delete(tenant)

    def drop_create_keys_of(self, tenant: str) -> int:
        found = [row for row in self.tables.create_keys if row["tenant"] == tenant]
        return sum(self.tables.create_keys.delete((tenant, row["name"])) for row in found)
