"""One attempt at one delivery: what came back. Nothing here raises; a receiver can do what it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from deployment.addresses import check_webhook_url
from deployment.outbound import exchange, judged_addresses
from hhray.errors import InvalidURL
from hhray.store_settings import MediaSettings

MAX_DETAIL_CHARS = 200
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP status, 0 where no answer came; `detail` as the log keeps it."""

    status: int
    detail: str


def send(url: str, headers: Mapping[str, str], body: bytes, guard: MediaSettings, timeout_seconds: float) -> Answer:
    """POST `body`. Blocks for at most `timeout_seconds`; must not be called from an event loop.

    The URL is judged anew, since it may come from settings, and since what its name leads to may have changed.
    Redirects are not followed: they would lead where nobody was asked.
    """
    return asyncio.run(_send_in_time(url, headers, body, guard, timeout_seconds))


async def _send_in_time(
    url: str, headers: Mapping[str, str], body: bytes, guard: MediaSettings, timeout_seconds: float
) -> Answer:
    try:
        async with asyncio.timeout(timeout_seconds):
            parsed = check_webhook_url(url, guard.allowed_private, guard.ports)
            addresses = await judged_addresses(parsed, guard.allowed_private)
            return await _post(parsed, addresses, headers, body, timeout_seconds)
    except (TimeoutError, httpx.TimeoutException):
        return Answer(0, f"no answer within {timeout_seconds:g} seconds")
    except InvalidURL as error:
        return Answer(0, error.message[:MAX_DETAIL_CHARS])
    except (httpx.HTTPError, httpx.InvalidURL):
        return Answer(0, "the receiver broke the connection or did not speak HTTP")


async def _post(
    url: httpx.URL, addresses: list[str], headers: Mapping[str, str], body: bytes, timeout_seconds: float
) -> Answer:
    for address in addresses:
        asked = exchange("POST", url, address, headers, idle_seconds=timeout_seconds, content=body)
        try:
            async with asked as response:
                if response.status_code in _REDIRECTS:
                    return Answer(response.status_code, "the receiver redirects; redirects are not followed")
                return Answer(response.status_code, await _beginning(response))
        except httpx.ConnectError:
            continue
    return Answer(0, "no connection to the receiver")


async def _beginning(response: httpx.Response) -> str:
    """The first characters of the answer's body, harmless in a terminal."""
    kept = b""
    try:
        async for chunk in response.aiter_raw():
            kept += chunk[: 4 * MAX_DETAIL_CHARS]
            if len(kept) >= MAX_DETAIL_CHARS:
                break
    except httpx.HTTPError:
        pass  # the status has come, which is what counts
    text = kept[: 4 * MAX_DETAIL_CHARS].decode("utf-8", "replace")[:MAX_DETAIL_CHARS]
    return "".join(char if char.isprintable() else " " for char in text)
