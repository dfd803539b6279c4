"""Downloads of the client: gone on where they broke off, and checked where the server says what they should be."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Awaitable, Callable

import httpx

from hhray.client_http import Wire, is_passing, pause_seconds, reason
from hhray.client_view import retry_after_seconds
from hhray.errors import ClientError, RequestRefused, ServerUnreachable

MAX_DOWNLOAD_REDIRECTS = 3
DOWNLOAD_ATTEMPTS = 3  # in a row that bring nothing new

_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")
_RANGE = re.compile(r"bytes ([0-9]+)-")


class Download:
    """One file on its way from `address` into `file`, which is open for reading and writing and empty."""

    def __init__(self, wire: Wire, address: str, file: io.BufferedRandom) -> None:
        """Raises ClientError when the address is no http(s) address."""
        self._wire, self._file = wire, file
        self._url = parse_url(address)
        self._etag = self._digest = ""

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Bring all of it; a connection that breaks off is made again where it was, if the server can.

        Raises:
            ClientError: it redirects elsewhere or too often, or is not what its checksum says.
            RequestRefused: the server says no (an expired link, for one).
            ServerUnreachable: it broke off again and again.
        """
        failures, furthest = 0, 0
        while True:
            try:
                await self._bring_rest()
                break
            except (ServerUnreachable, RequestRefused) as error:
                reached = self._file.tell()
                failures, furthest = (1, reached) if reached > furthest else (failures + 1, furthest)
                if not is_passing(error) or failures == DOWNLOAD_ATTEMPTS:
                    raise
                await sleep(pause_seconds(error, failures))
        self._check()

    async def _bring_rest(self) -> None:
        url, origin = self._url, _origin(self._url)
        for _ in range(MAX_DOWNLOAD_REDIRECTS + 1):
            try:
                target = await self._bring(url)
            except httpx.HTTPError as error:
                raise ServerUnreachable(f"the download from {url.host} broke off: {reason(error)}") from error
            if target is None:
                return
            url = url.join(parse_url(target, relative=True))
            if _origin(url) != origin:
                raise ClientError(f"the clip's address redirects to another host, {url.host}; it is not followed")
        raise ClientError(f"the clip's address redirects more than {MAX_DOWNLOAD_REDIRECTS} times; it is not followed")

    async def _bring(self, url: httpx.URL) -> str | None:
        """Returns where a redirect points to, None when the file is complete."""
        done = self._file.tell()
        # Without a strong name of the version, the rest of another file might be added to the beginning of this one.
        headers = {"range": f"bytes={done}-", "if-range": self._etag} if done and self._etag else {}
        async with self._wire.open_file(url, headers) as response:
            if response.has_redirect_location:
                return response.headers["location"]
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._start_again()
                raise ServerUnreachable("the file has changed while it was downloaded")
            if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                raise _refused(response)
            if not (response.status_code == httpx.codes.PARTIAL_CONTENT and _continues(response, done)):
                self._start_again()
            etag = response.headers.get("etag", "")
            self._etag = "" if etag.startswith("W/") else etag
            digest = _DIGEST.search(response.headers.get("repr-digest", ""))
            self._digest = digest[1] if digest else ""
            async for piece in response.aiter_raw():
                self._file.write(piece)
        return None

    def _start_again(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def _check(self) -> None:
        """By RFC 9530, Repr-Digest: of the whole file, however many parts it came in."""
        self._file.seek(0)
        if (
            self._digest
            and self._digest != base64.b64encode(hashlib.file_digest(self._file, "sha256").digest()).decode()
        ):
            raise ClientError("the downloaded clip is not what its checksum says; download it again")


def parse_url(text: str, relative: bool = False) -> httpx.URL:
    """A clip's address, or where it redirects to. Raises ClientError."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ClientError(f"the clip's address is malformed: {error}") from error
    if not relative and (url.scheme not in ("http", "https") or not url.host):
        raise ClientError(f"the clip's address is no http(s) address: {text[:100]!r}")
    return url


def _continues(response: httpx.Response, done: int) -> bool:
    found = _RANGE.match(response.headers.get("content-range", ""))
    return found is not None and int(found[1]) == done


def _refused(response: httpx.Response) -> RequestRefused:
    return RequestRefused(
        "DownloadFailed",
        f"the clip cannot be downloaded: HTTP {response.status_code}; the link may have expired, "
        "then ask for the task again",
        response.status_code,
        retry_after_seconds(response),
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
