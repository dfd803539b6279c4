"""The hubs' listings: which files a part has, how large they are, and their checksums. Plain HTTP, no hub library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from engine.fetch.catalogue import Part
from hhray.errors import ConfigError, ServerUnreachable


class Hub(StrEnum):
    """Where weights are published."""

    HUGGINGFACE = "huggingface"
    MODELSCOPE = "modelscope"


PUBLIC_URLS = {Hub.HUGGINGFACE: "https://huggingface.co", Hub.MODELSCOPE: "https://www.modelscope.cn"}
TIMEOUT = httpx.Timeout(60.0, connect=20.0)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a part. `sha256` is that of its bytes; empty where the hub gives a git blob id (`sha1`) only."""

    path: str  # below the part's folder
    url: str
    size: int
    sha256: str = ""
    sha1: str = ""


def open_hub(hub: Hub, base_url: str, token: str) -> httpx.Client:
    """A client of the hub at `base_url` (empty: the public one). The token is not sent on to other hosts."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # trust_env=False: settings are the only reader of the environment
    return httpx.Client(
        base_url=base_url or PUBLIC_URLS[hub], headers=headers, timeout=TIMEOUT, follow_redirects=True, trust_env=False
    )


def list_files(http: httpx.Client, hub: Hub, part: Part) -> list[RemoteFile]:
    """All files of a part.

    Raises:
        ServerUnreachable: the hub does not answer.
        ConfigError: it refuses, does not have the part, or answers with something unexpected.
    """
    listing = _huggingface if hub is Hub.HUGGINGFACE else _modelscope
    try:
        files = list(listing(http, part))
    except httpx.TransportError as error:
        raise ServerUnreachable(f"{http.base_url} does not answer: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the listing of {part.repository} on {http.base_url} is not understood: {error!r}"
        ) from error
    if not files:
        raise ConfigError(f"{part.repository} on {http.base_url} has no files in {part.folder or 'its root'}")
    for file in files:
        pieces = PurePosixPath(file.path)
        if pieces.is_absolute() or ".." in pieces.parts or "\\" in file.path:
            raise ConfigError(f"{part.repository} lists a file outside of its folder: {file.path!r}")
    return files


def check_answer(answer: httpx.Response, what: str) -> None:
    """Nothing for a good answer.

    Raises:
        ServerUnreachable: the hub has a passing trouble (429, 5xx).
        ConfigError: it refuses or has no such file.
    """
    code = answer.status_code
    if code in (401, 403):
        raise ConfigError(
            f"the hub refuses {what} ({code}): ask for access on its page and set HHRAY_HUB__HUGGINGFACE_TOKEN "
            "(or HHRAY_HUB__MODELSCOPE_TOKEN) to a token of that account"
        )
    if code == 429 or code >= 500:
        raise ServerUnreachable(f"the hub cannot give {what} at the moment ({code})")
    if code >= 400:
        raise ConfigError(f"the hub has no {what} ({code})")


def _huggingface(http: httpx.Client, part: Part) -> Iterator[RemoteFile]:
    root = f"/{part.folder}" if part.folder else ""
    url: str | None = f"/api/models/{part.repository}/tree/main{root}?recursive=true"
    while url:
        answer = http.get(url)
        check_answer(answer, part.repository)
        for entry in answer.json():
            if entry["type"] == "file":
                sums = {"sha256": entry["lfs"]["oid"]} if entry.get("lfs") else {"sha1": entry["oid"]}
                source = f"/{part.repository}/resolve/main/{quote(entry['path'])}"
                yield RemoteFile(_below(part, entry["path"]), source, int(entry["size"]), **sums)
        following = answer.links.get("next", {}).get("url")
        # path and query only: the token must not follow a link to another host
        url = httpx.URL(following).raw_path.decode() if following else None


def _modelscope(http: httpx.Client, part: Part) -> Iterator[RemoteFile]:
    where = {"Revision": "master", "Recursive": "true", "Root": part.folder}
    answer = http.get(f"/api/v1/models/{part.repository}/repo/files", params=where)
    check_answer(answer, part.repository)
    entries: list[dict[str, Any]] = answer.json()["Data"]["Files"]
    for entry in entries:
        if entry["Type"] == "blob":
            source = f"/api/v1/models/{part.repository}/repo?Revision=master&FilePath={quote(entry['Path'], safe='')}"
            yield RemoteFile(_below(part, entry["Path"]), source, int(entry["Size"]), sha256=entry["Sha256"])


def _below(part: Part, path: str) -> str:
    if part.folder and not path.startswith(f"{part.folder}/"):
        raise ValueError(f"{path} is not in {part.folder}/")
    return path.removeprefix(f"{part.folder}/") if part.folder else path
