"""Download a client's media file without being turned against the server's own network (SSRF).

Each hop is judged anew and connected to as deployment.outbound says. Redirects are followed by hand, bytes are counted
on the stream, a server that falls silent is left, and one deadline covers everything. Error sentences never name an
address the client did not send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from deployment.addresses import DEFAULT_PORTS, parse_media_url
from deployment.outbound import exchange, judged_addresses
from hhray.errors import InvalidURL, MediaError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may take. `allowed_private` holds host:port pairs that may lie in a private network.

    `timeout_seconds` is for all of it, `idle_seconds` for any moment without a byte; `ports` are those of the public
    internet that may be connected to.
    """

    max_bytes: int
    timeout_seconds: float
    max_redirects: int
    allowed_private: Collection[str] = ()
    ports: Collection[int] = DEFAULT_PORTS
    idle_seconds: float = 10.0


def fetch(url: str, write: Write, limits: FetchLimits, accept: str = "*/*") -> None:
    """Feed the body at `url` to `write`, piece by piece. Blocks; must not be called from an event loop.

    When it raises, `write` may have got a part of the body.

    Raises:
        MediaError: InputDownloadFailed, with a sentence for the client; TooLarge beyond `max_bytes`.
    """
    asyncio.run(_fetch_in_time(url, write, limits, accept))


async def _fetch_in_time(url: str, write: Write, limits: FetchLimits, accept: str) -> None:
    try:
        async with asyncio.timeout(limits.timeout_seconds):
            await _follow(url, write, limits, accept)
    except TimeoutError:
        raise _failed(f"the download took longer than {round(limits.timeout_seconds, 1):g} seconds") from None


async def _follow(text: str, write: Write, limits: FetchLimits, accept: str) -> None:
    url = _judged(text, limits, "the address is not allowed")
    for _ in range(limits.max_redirects + 1):
        answer = await _get(url, write, limits, accept)
        if answer is None:
            return
        target = _judged(str(answer), limits, "the server redirects to an address that is not allowed")
        if url.scheme == "https" and target.scheme == "http":
            raise _failed("the server redirects from https to http")
        url = target
    raise _failed(f"the server redirects more than {limits.max_redirects} times")


async def _get(url: httpx.URL, write: Write, limits: FetchLimits, accept: str) -> httpx.URL | None:
    """One request: where the answer redirects to, None when the body is written. Tries the host's addresses in turn."""
    try:
        addresses = await judged_addresses(url, limits.allowed_private)
    except InvalidURL as error:
        raise _failed(error.message) from error
    for address in addresses:
        try:
            asked = exchange("GET", url, address, {"accept": accept}, idle_seconds=limits.idle_seconds)
            async with asked as response:
                return await _taken(url, response, write, limits)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
        except httpx.TimeoutException as error:
            raise _failed(f"the server sent nothing for {round(limits.idle_seconds, 1):g} seconds") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failed("the server broke the connection or did not speak HTTP") from error
    raise _failed("no connection to the server")


async def _taken(url: httpx.URL, response: httpx.Response, write: Write, limits: FetchLimits) -> httpx.URL | None:
    """What an answer redirects to; None when its body has been written."""
    if response.status_code in _REDIRECTS and "location" in response.headers:
        return _joined(url, response.headers["location"])
    if response.status_code != 200:
        raise _failed(f"the server answered with status {response.status_code}, expected 200")
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity"):  # a compressed body could be far larger than what is counted
        raise _failed("the server sends the file compressed (Content-Encoding), though it was asked not to")
    too_large = MediaError("TooLarge", f"expected a file of at most {limits.max_bytes} bytes; it is larger")
    said = response.headers.get("content-length", "")
    if said.isdecimal() and len(said) < 20 and int(said) > limits.max_bytes:
        raise too_large
    num_bytes = 0
    async for chunk in response.aiter_raw():
        num_bytes += len(chunk)
        if num_bytes > limits.max_bytes:
            raise too_large
        write(chunk)
    return None


def _judged(text: str, limits: FetchLimits, what: str) -> httpx.URL:
    try:
        return parse_media_url(text, limits.allowed_private, limits.ports)
    except InvalidURL as error:
        raise _failed(f"{what}: {error.message}") from error


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise _failed("the server redirects to something that is not a URL") from error


def _failed(reason: str) -> MediaError:
    return MediaError("InputDownloadFailed", f"Failed to download the input file: {reason}.")
