"""What makes two creates the same: the uploads they name, and a fingerprint of all they ask for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

from deployment.create_call import CreateCall
from deployment.store.base import TaskStore
from deployment.store.upload_verbs import Upload
from hhray.errors import InvalidURL
from hhray.request import ClipRequest

UPLOAD_SCHEME = "oss://"
# Not of the body, or told in another way.
_APART = ("request", "files", "uploads", "idempotency_key", "seed_drawn", "fingerprint")


def identified(store: TaskStore, tenant: str, call: CreateCall) -> CreateCall:
    """The call with its uploads looked up, and its fingerprint.

    Raises:
        InvalidURL: an upload is not the tenant's, not for this model, or gone; the sentence does not say which.
    """
    uploads = tuple(_upload(store, tenant, call.request, index) for index in range(len(call.request.media)))
    found = replace(call, uploads=uploads)
    return replace(found, fingerprint=fingerprint(found))


def fingerprint(call: CreateCall) -> str:
    """SHA-256 of what a call asks for, in hexadecimal; order of keys, white space and a drawn seed do not matter.

    A file counts by its bytes, whether it came along or was uploaded: clients upload anew when they try again.
    """
    asked = call.request.model_dump(mode="json", exclude={"media", "workspace"})
    if call.seed_drawn:
        del asked["seed"]
    more = {item.name: getattr(call, item.name) for item in fields(call) if item.name not in _APART}
    text = json.dumps(
        [asked, [_content(call, index) for index in range(len(call.request.media))], more], sort_keys=True
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _content(call: CreateCall, index: int) -> list[str]:
    item, upload = call.request.media[index], call.uploads[index]
    data = call.files[index] if index < len(call.files) else None
    if upload is not None:
        return [item.type, "sha256", upload.sha256]
    if data is None:
        return [item.type, "url", item.url]
    if isinstance(data, bytes):
        return [item.type, "sha256", hashlib.sha256(data).hexdigest()]
    data.seek(0)
    digest = hashlib.file_digest(data, "sha256").hexdigest()  # type: ignore[arg-type] # the spool of a form's file
    data.seek(0)
    return [item.type, "sha256", digest]


def _upload(store: TaskStore, tenant: str, request: ClipRequest, index: int) -> Upload | None:
    url: Any = request.media[index].url
    if not url.startswith(UPLOAD_SCHEME):
        return None
    upload = store.upload(tenant, url.removeprefix(UPLOAD_SCHEME))
    if upload is None or upload.model != request.model:
        raise gone(index)
    return upload


def gone(index: int) -> InvalidURL:
    """The error for an upload that cannot be used."""
    return InvalidURL(
        f"input.media[{index}].url: expected a file uploaded here, with a key of the same tenant, for the same model, "
        "and still kept; upload it again."
    )
