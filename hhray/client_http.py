"""The client's wire: one server, one key, and what is worth trying again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from hhray.client_events import ServerEvent, read_events
from hhray.client_view import parse_answer
from hhray.errors import ClientError, ConfigError, RequestRefused, ServerUnreachable

MAX_PAUSE_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 30.0

_PASSING = frozenset({408, 429, 500, 502, 503, 504})


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
    """HTTP exchanges with one server. The key goes to the server's own routes, never along with a file."""

    def __init__(
        self, base_url: str, api_key: str, timeout_seconds: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises ConfigError when `base_url` is no http(s) address, or the key cannot be sent in a header."""
        if not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("the API key has characters that no key has; expected printable ASCII")
        self._auth = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # trust_env=False: proxies, certificates and .netrc of the environment would be settings by the back door.
        self._http = httpx.AsyncClient(
            base_url=_server_url(base_url), timeout=timeout_seconds, trust_env=False, transport=transport
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def call(
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
            response = await self._http.request(
                method, path, json=json, params=params, headers={**self._auth, **(headers or {})}
            )
        except httpx.HTTPError as error:
            raise self._silence(error) from error
        return parse_answer(response)

    async def events(self, path: str, last_event_id: str, patience_seconds: float) -> AsyncIterator[ServerEvent]:
        """The events of one stream, until it ends or nothing comes for `patience_seconds`.

        Raises:
            RequestRefused: the server says no, or (404) answers with something else than events.
            ServerUnreachable: nobody answers, or the stream broke off.
        """
        headers = {**self._auth, "accept": "text/event-stream"}
        headers |= {"last-event-id": last_event_id} if last_event_id else {}
        limits = httpx.Timeout(self._http.timeout.connect, read=patience_seconds)
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=limits) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise refused_stream(response)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise RequestRefused("NotFound", "the server has no events of this task", httpx.codes.NOT_FOUND)
                async for event in read_events(response.aiter_lines()):
                    yield event
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    @asynccontextmanager
    async def open_file(self, url: httpx.URL, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """A download that has begun; without the key. Raises what httpx raises."""
        async with self._http.stream("GET", url, headers={"accept-encoding": "identity", **headers}) as response:
            yield response

    async def post_form(self, url: httpx.URL, fields: dict[str, str], path: Path, content_type: str) -> None:
        """Send a form with a file as its last part, without the key.

        Raises:
            RequestRefused: the answer is another than 200.
            ServerUnreachable: nobody answers.
            OSError: the file cannot be read.
        """
        with path.open("rb") as file:
            files = {"file": (fields["key"].rpartition("/")[2], file, content_type)}
            try:
                response = await self._http.post(url, data=fields, files=files)
            except httpx.HTTPError as error:
                raise self._silence(error) from error
        if response.status_code != httpx.codes.OK:
            raise RequestRefused(
                "UploadFailed",
                f"the upload was refused: HTTP {response.status_code} {response.text[:200]}",
                response.status_code,
            )

    def _silence(self, error: httpx.HTTPError) -> ServerUnreachable:
        return ServerUnreachable(f"no answer from {self._http.base_url}: {reason(error)}; is the server running there?")


def refused_stream(response: httpx.Response) -> ClientError:
    """What a refusal of a stream means; one that is not in the dialect says only that there are no events."""
    try:
        parse_answer(response)
    except ServerUnreachable as error:
        status = response.status_code
        return error if status in _PASSING else RequestRefused("NotFound", error.message, httpx.codes.NOT_FOUND)
    except RequestRefused as error:
        return error
    return RequestRefused("NotFound", "the server has no events", httpx.codes.NOT_FOUND)


def reason(error: httpx.HTTPError) -> str:
    """What went wrong, in a few words."""
    return str(error) or type(error).__name__


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
