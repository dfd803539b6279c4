"""Server-sent events as text lines bring them (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

MAX_EVENT_CHARS = 1_000_000  # a stream that never ends an event is no event stream


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; `last_id` names it when the stream is opened again."""

    name: str
    data: str
    last_id: str


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    """The events of a stream of lines. One without data, or cut off by the end, is none.

    Raises:
        ValueError: an event is longer than a million characters.
    """
    name, data, last_id, size = "", list[str](), "", 0
    async for line in lines:
        if not line:
            if data:
                yield ServerEvent(name or "message", "\n".join(data), last_id)
            name, data, size = "", [], 0
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        size += len(value)
        if size > MAX_EVENT_CHARS:
            raise ValueError(f"an event is longer than {MAX_EVENT_CHARS} characters")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
