"""Connections to places that clients name: every address of the host is judged, and the very one judged is connected.

Shared by the download of media and by webhooks. Redirects are never followed here, proxies, cookies and credentials of
the environment never used. Error sentences never name an address the client did not send.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache

import httpx

from deployment.addresses import is_allowed_private, is_public, port_of
from hhray.errors import InvalidURL

MAX_ADDRESSES = 4
CONNECT_SECONDS = 5.0
USER_AGENT = "hhray"


@cache
def trusted_authorities() -> ssl.SSLContext:
    """What servers must prove who they are with; read once, for reading it takes longer than most exchanges."""
    return httpx.create_ssl_context(trust_env=False)


async def judged_addresses(url: httpx.URL, allowed_private: Collection[str]) -> list[str]:
    """The first addresses of the URL's host, after all of them were judged: one private address refuses the host.

    Raises:
        InvalidURL: the name cannot be resolved, or leads inside.
    """
    try:
        found = await _look_up(url.raw_host.decode("ascii"), port_of(url))
    except (OSError, UnicodeError) as error:
        raise InvalidURL("the host name cannot be resolved") from error
    if not is_allowed_private(url, allowed_private) and not all(map(_is_public_text, found)):
        raise InvalidURL("the host is not on the public internet; this server does not connect to private networks")
    return found[:MAX_ADDRESSES]


@asynccontextmanager
async def exchange(
    method: str,
    url: httpx.URL,
    address: str,
    headers: Mapping[str, str],
    *,
    idle_seconds: float,
    content: bytes | None = None,
) -> AsyncIterator[httpx.Response]:
    """One request to one judged address of the URL's host, with the right Host header and TLS name; its answer, whose
    body has not been read. A server that drips may take as long as it likes: set a deadline around it.

    Raises:
        httpx.HTTPError, httpx.InvalidURL: ConnectError and ConnectTimeout where the next address may be tried;
            another TimeoutException when the server fell silent for `idle_seconds`.
    """
    pinned = url.copy_with(host=address, fragment=None)
    named = {"host": url.netloc.decode("ascii"), "user-agent": USER_AGENT, "accept-encoding": "identity", **headers}
    # A client of its own for each exchange: no cookie, proxy, netrc or pooled connection is carried over.
    async with (
        httpx.AsyncClient(
            verify=trusted_authorities(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(idle_seconds, connect=CONNECT_SECONDS),
        ) as client,
        client.stream(
            method,
            pinned,
            headers=named,
            content=content,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        ) as response,
    ):
        yield response


async def _look_up(host: str, port: int) -> list[str]:
    """All addresses of a host, once each. On a thread of its own, which nobody waits for: a name server that does not
    answer takes longer than a download may, and the C library cannot be interrupted."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str] | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(addresses or [])

    def ask() -> None:
        addresses, failure = None, None
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the deadline was earlier
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return await answer


def _is_public_text(address: str) -> bool:
    return is_public(ipaddress.ip_address(address.partition("%")[0]))
