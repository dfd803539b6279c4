"""Uploads: files that clients send ahead of a create, each of one tenant and for one model.

The bytes a tenant has uploaded are counted when an upload begins, by what it may become, and again when it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from deployment.store.statements import Database, Row, Transaction, one

_MOST_AT_ONCE = 1000


class UploadStart(StrEnum):
    """What became of the wish to upload: begun; the tenant has a file of that name; no room is left to the tenant."""

    BEGUN = "begun"
    TAKEN = "taken"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file a client uploads: `object_key` is its name for it, `num_bytes` what is set aside until it is complete."""

    upload_id: str
    tenant: str
    model: str
    object_key: str
    num_bytes: int
    sha256: str = ""
    expires_at: float = 0.0


class UploadVerbs:
    """See deployment.store.base.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_upload(self, upload: Upload, hold_seconds: float, most_bytes: int) -> UploadStart:
        """Set room aside; it comes back after `hold_seconds` unless the upload is complete by then."""
        if upload.num_bytes > most_bytes:
            return UploadStart.FULL
        with self._database.write() as transaction:
            begun = transaction.run(
                "insert_upload",
                upload_id=upload.upload_id,
                tenant=upload.tenant,
                model=upload.model,
                object_key=upload.object_key,
                num_bytes=upload.num_bytes,
                hold_seconds=float(hold_seconds),
            )
            if not begun:
                return UploadStart.TAKEN
            size = upload.num_bytes
            if not transaction.run("take_upload_room", tenant=upload.tenant, num_bytes=size, most_bytes=most_bytes):
                transaction.all("drop_upload", upload_id=upload.upload_id)
                return UploadStart.FULL
            return UploadStart.BEGUN

    def finish_upload(self, upload_id: str, sha256: str, num_bytes: int, ttl_seconds: float) -> bool:
        """The file is complete and kept for `ttl_seconds`; False when its time had run out."""
        with self._database.write() as transaction:
            row = one(transaction, "open_upload", upload_id=upload_id)
            if row is None:
                return False
            transaction.run(
                "finish_upload",
                upload_id=upload_id,
                sha256=sha256,
                num_bytes=num_bytes,
                ttl_seconds=float(ttl_seconds),
            )
            transaction.run("give_upload_room", tenant=row["tenant"], num_bytes=row["num_bytes"] - num_bytes)
            return True

    def drop_upload(self, upload_id: str) -> None:
        """Forget an upload, if it is there; the caller deletes the file."""
        with self._database.write() as transaction:
            _give_room(transaction, transaction.all("drop_upload", upload_id=upload_id))

    def upload(self, tenant: str, object_key: str) -> Upload | None:
        """The tenant's complete file of that name; None when there is none, or its time is over."""
        with self._database.read() as transaction:
            row = one(transaction, "upload", tenant=tenant, object_key=object_key)
        return None if row is None else _upload_of(row)

    def has_upload(self, upload_id: str) -> bool:
        """Whether a file of that id is kept or on its way."""
        with self._database.read() as transaction:
            return one(transaction, "upload_row", upload_id=upload_id) is not None

    def expire_uploads(self) -> list[str]:
        """Remove uploads whose time is over, at most 1000; their ids, whose files the caller deletes."""
        with self._database.write() as transaction:
            rows = transaction.all("drop_expired_uploads", limit=_MOST_AT_ONCE)
            _give_room(transaction, rows)
            return sorted(row["upload_id"] for row in rows)

    def forget_uploads(self, tenant: str) -> list[str]:
        """Remove a tenant's uploads and the keys of its creates; the uploads' ids, whose files are the caller's."""
        with self._database.write() as transaction:
            transaction.run("drop_create_keys_of", tenant=tenant)
            found = [str(row["upload_id"]) for row in transaction.all("drop_uploads_of", tenant=tenant)]
            transaction.run("drop_upload_total", tenant=tenant)
        return found

    def uploaded_bytes(self, tenant: str) -> int:
        """Bytes of all the tenant's uploads, as the quota counts them."""
        with self._database.read() as transaction:
            return int(transaction.all("upload_total", tenant=tenant)[0]["num_bytes"])


def _give_room(transaction: Transaction, rows: Sequence[Row]) -> None:
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["tenant"]] = totals.get(row["tenant"], 0) + row["num_bytes"]
    for tenant in sorted(totals):  # in one order, so that two who do this cannot wait for each other
        transaction.run("give_upload_room", tenant=tenant, num_bytes=totals[tenant])


def _upload_of(row: Row) -> Upload:
    return Upload(
        row["upload_id"],
        row["tenant"],
        row["model"],
        row["object_key"],
        row["num_bytes"],
        row["sha256"],
        row["expires_at"],
    )
