"""Download a client's media file without being turned against the server's own network (SSRF).

All addresses of the host are resolved and judged. The connection goes to the very address that was judged, with the
right Host header and TLS name. Redirects are followed by hand and judged anew, bytes are counted on the stream, and one
deadline covers everything. Error sentences never name an address the client did not send.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from deployment.addresses import is_allowed_private, is_public, parse_media_url, port_of
from hhray.errors import InvalidURL, MediaError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_ADDRESSES = 4


Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may take. `allowed_private` holds host:port pairs that may lie in a private network."""

    max_bytes: int
    timeout_seconds: float
    max_redirects: int
    allowed_private: Collection[str] = ()


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
    url = _judged(text, limits.allowed_private, "the address is not allowed")
    for _ in range(limits.max_redirects + 1):
        answer = await _get(url, write, limits, accept)
        if answer is None:
            return
        target = _judged(str(answer), limits.allowed_private, "the server redirects to an address that is not allowed")
        if url.scheme == "https" and target.scheme == "http":
            raise _failed("the server redirects from https to http")
        url = target
    raise _failed(f"the server redirects more than {limits.max_redirects} times")


async def _get(url: httpx.URL, write: Write, limits: FetchLimits, accept: str) -> httpx.URL | None:
    """One request: where the answer redirects to, None when the body is written. Tries the host's addresses in turn."""
    addresses = await _resolve(url, limits.allowed_private)
    for address in addresses[:_MAX_ADDRESSES]:
        try:
            return await _get_from(address, url, write, limits, accept)
        except httpx.ConnectError:
            continue
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failed("the server broke the connection or did not speak HTTP") from error
    raise _failed("no connection to the server")


async def _get_from(address: str, url: httpx.URL, write: Write, limits: FetchLimits, accept: str) -> httpx.URL | None:
    host = url.raw_host.decode("ascii")
    pinned = url.copy_with(host=address, fragment=None)
    headers = {
        "host": url.netloc.decode("ascii"),
        "user-agent": "hhray",
        "accept": accept,
        "accept-encoding": "identity",  # a compressed body could be far larger than what is counted
    }
    # A client of its own for each hop: no cookie, proxy, netrc or pooled connection is carried over.
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client,  # noqa: S113 - one deadline
        client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as response,
    ):
        if response.status_code in _REDIRECTS and "location" in response.headers:
            return _joined(url, response.headers["location"])
        if response.status_code != 200:
            raise _failed(f"the server answered with status {response.status_code}, expected 200")
        num_bytes = 0
        async for chunk in response.aiter_raw():
            num_bytes += len(chunk)
            if num_bytes > limits.max_bytes:
                raise MediaError("TooLarge", f"expected a file of at most {limits.max_bytes} bytes; it is larger")
            write(chunk)
        return None


async def _resolve(url: httpx.URL, allowed_private: Collection[str]) -> list[str]:
    """All addresses of the host, every one of them judged: one private address refuses the host."""
    host = url.raw_host.decode("ascii")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port_of(url), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _failed("the host name cannot be resolved") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not is_allowed_private(url, allowed_private) and not all(map(_is_public_text, addresses)):
        raise _failed("the host is not on the public internet; this server does not fetch from private networks")
    return addresses


def _is_public_text(address: str) -> bool:
    return is_public(ipaddress.ip_address(address.partition("%")[0]))


def _judged(text: str, allowed_private: Collection[str], what: str) -> httpx.URL:
    try:
        return parse_media_url(text, allowed_private)
    except InvalidURL as error:
        raise _failed(f"{what}: {error.message}") from error


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise _failed("the server redirects to something that is not a URL") from error


def _failed(reason: str) -> MediaError:
    return MediaError("InputDownloadFailed", f"Failed to download the input file: {reason}.")
