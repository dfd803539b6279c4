"""The client's wire: one server, one key, and what is worth trying again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from hhray.client_view import parse_answer, retry_after_seconds
from hhray.errors import ClientError, ConfigError, RequestRefused, ServerUnreachable

MAX_PAUSE_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 30.0
MAX_DOWNLOAD_REDIRECTS = 3

_PASSING = frozenset({429, 500, 502, 503, 504})


def is_passing(error: ClientError) -> bool:
    """Whether the same question may get a better answer later: lost connections, throttling, a server in trouble."""
    return isinstance(error, ServerUnreachable) or (isinstance(error, RequestRefused) and error.http_status in _PASSING)


def pause_seconds(error: ClientError, failures: int) -> float:
    """Seconds to wait after `failures` failures in a row: what the server asked for, else 0.25, 0.5, 1 .. 5 s."""
    asked = error.retry_after_seconds if isinstance(error, RequestRefused) else None
    if asked is not None:
        return min(asked, MAX_RETRY_AFTER_SECONDS)
    return min(0.125 * 2.0 ** min(failures, 10), MAX_PAUSE_SECONDS)


class Wire:
    """HTTP exchanges with one server. The key goes to the server's own routes, never along with a download."""

    def __init__(self, base_url: str, api_key: str, timeout_seconds: float) -> None:
        """Raises ConfigError when `base_url` is no http(s) address, or the key cannot be sent in a header."""
        if not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("the API key has characters that no key has; expected printable ASCII")
        self._auth = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # trust_env=False: proxies, certificates and .netrc of the environment would be settings by the back door.
        self._http = httpx.Client(base_url=_server_url(base_url), timeout=timeout_seconds, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        params: dict[str, str | int] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One exchange; the answer's JSON object.

        Raises:
            ServerUnreachable: nobody answers, or not in the dialect.
            RequestRefused: the server says no.
        """
        try:
            response = self._http.request(
                method, path, json=json, params=params, headers={**self._auth, **(headers or {})}
            )
        except httpx.HTTPError as error:
            raise ServerUnreachable(
                f"no answer from {self._http.base_url}: {_reason(error)}; is the server running there?"
            ) from error
        return parse_answer(response)

    def stream(self, address: str, write: Callable[[bytes], int]) -> None:
        """Feed the file at `address` to `write`, piece by piece; redirects are followed on the same host only.

        Raises:
            ClientError: the address is none, or redirects elsewhere or too often.
            RequestRefused: the server says no (an expired link, for one).
            ServerUnreachable: the download broke off.
        """
        url = _parse_url(address)
        origin = _origin(url)
        for _ in range(MAX_DOWNLOAD_REDIRECTS + 1):
            try:
                target = self._stream_once(url, write)
            except httpx.HTTPError as error:
                raise ServerUnreachable(f"the download from {url.host} broke off: {_reason(error)}") from error
            if target is None:
                return
            url = url.join(_parse_url(target, relative=True))
            if _origin(url) != origin:
                raise ClientError(f"the clip's address redirects to another host, {url.host}; it is not followed")
        raise ClientError(f"the clip's address redirects more than {MAX_DOWNLOAD_REDIRECTS} times; it is not followed")

    def _stream_once(self, url: httpx.URL, write: Callable[[bytes], int]) -> str | None:
        """Returns where a redirect points to, None when the file is complete."""
        with self._http.stream("GET", url) as response:
            if response.has_redirect_location:
                return response.headers["location"]
            if response.status_code != httpx.codes.OK:
                raise RequestRefused(
                    "DownloadFailed",
                    f"the clip cannot be downloaded: HTTP {response.status_code}; the link may have expired, "
                    "then ask for the task again",
                    response.status_code,
                    retry_after_seconds(response),
                )
            for piece in response.iter_bytes():
                write(piece)
        return None


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _parse_url(text: str, relative: bool = False) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ClientError(f"the clip's address is malformed: {error}") from error
    if not relative and (url.scheme not in ("http", "https") or not url.host):
        raise ClientError(f"the clip's address is no http(s) address: {text[:100]!r}")
    return url


def _server_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ConfigError(f"the server's URL is malformed: {error}; expected e.g. http://127.0.0.1:8000") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"the server's URL is {text[:100]!r}; expected e.g. http://127.0.0.1:8000")
    if url.userinfo or url.query or url.fragment:
        raise ConfigError("the server's URL must have no user, query or fragment; give the key with --api-key")
    return url
