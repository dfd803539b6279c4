"""Keys of files: made by the server only, of validated parts, so that no client's text becomes a path.

    clips/<tenant>/<task>/<attempt>.mp4     inputs/<tenant>/<task>/<index>
    previews/<tenant>/<task>/<name>         uploads/<tenant>/<upload>/file

A clip's key names the attempt, so that two owners of one task never write the same file. Keys without a tenant are
those of servers before tenants had folders of their own; they are read and removed like the others.
"""

from __future__ import annotations

import hashlib
import re

TASK_KINDS = ("inputs", "clips", "previews")
UPLOADS = "uploads"
KINDS = (*TASK_KINDS, UPLOADS)
# What is written under such a key stays: a second file under it is refused. An input may be fetched again, and a
# preview made again.
WRITTEN_ONCE = ("clips", UPLOADS)

_TASK_ID = re.compile(r"[0-9a-f-]{36}")
_SLUG = re.compile(r"t-[a-z0-9_-]{1,48}|h-[0-9a-f]{32}")
_KEY = re.compile(
    rf"({'|'.join(KINDS)})/(?:({_SLUG.pattern})/)?({_TASK_ID.pattern})/([A-Za-z0-9_-][A-Za-z0-9._-]{{0,127}})"
)
_PLAIN_TENANT = re.compile(r"[a-z0-9_-]{1,48}")


def tenant_slug(tenant: str) -> str:
    """A tenant's folder: its name where that is one on every disk and store, else a hash. No slug is a task id, and no
    two tenants share one, on disks that do not tell A from a either."""
    if _PLAIN_TENANT.fullmatch(tenant):
        return f"t-{tenant}"
    return "h-" + hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def input_key(task_id: str, index: int = 0, tenant: str = "") -> str:
    """Key of a task's media file."""
    return f"{_folder('inputs', task_id, tenant)}/{index}"


def clip_key(task_id: str, attempt: int, tenant: str = "") -> str:
    """Key of the clip one attempt makes."""
    return f"{_folder('clips', task_id, tenant)}/{attempt}.mp4"


def preview_key(task_id: str, name: str, tenant: str = "") -> str:
    """Key of a picture made of a result, such as `thumbnail.webp`."""
    return f"{_folder('previews', task_id, tenant)}/{name}"


def upload_key(upload_id: str, tenant: str = "") -> str:
    """Key of a file that a client brought before any task refers to it; `upload_id` is a UUID of the server's. The
    client's name for the file is no part of it."""
    return f"{_folder(UPLOADS, upload_id, tenant)}/file"


def check_key(key: str) -> str:
    """The key itself.

    Raises:
        ValueError: it is none that this module makes.
    """
    if not _KEY.fullmatch(key):
        raise ValueError("not an artifact key")
    return key


def check_folder(folder: str) -> str:
    """A folder of files of one task, or one upload, itself.

    Raises:
        ValueError: it is none that this module makes.
    """
    kind, *slugs, task_id = folder.split("/")
    if kind not in KINDS or len(slugs) > 1 or not all(map(is_slug, slugs)) or not is_task_id(task_id):
        raise ValueError("not a folder of artifacts")
    return folder


def is_task_id(name: str) -> bool:
    """Whether the name of a folder is that of a task or an upload."""
    return _TASK_ID.fullmatch(name) is not None


def is_slug(name: str) -> bool:
    """Whether the name of a folder is that of a tenant."""
    return _SLUG.fullmatch(name) is not None


def kind_of(key: str) -> str:
    """The kind of a key or folder: its first part."""
    return key.partition("/")[0]


def task_folders(task_id: str, slugs: tuple[str, ...]) -> list[str]:
    """Folders in which files of a task, or an upload, may lie: those of all kinds, without a tenant and below these.

    Raises:
        ValueError: no task has such an id.
    """
    if not is_task_id(task_id):
        raise ValueError("not a task id")
    below = ("", *(f"{slug}/" for slug in slugs))
    return [f"{kind}/{slug}{task_id}" for kind in KINDS for slug in below]


def _folder(kind: str, task_id: str, tenant: str) -> str:
    return f"{kind}/{tenant_slug(tenant)}/{task_id}" if tenant else f"{kind}/{task_id}"
