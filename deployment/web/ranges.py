"""Which bytes of a file a request asks for, by RFC 9110: ranges (section 14) and preconditions (section 13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from deployment.artifacts import FileFacts

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """What to answer: bytes `start` up to, not including, `end`. 200 is all of them, 206 some, 304 and 416 none."""

    status: int
    start: int
    end: int


def span_of(headers: Mapping[str, str], method: str, facts: FileFacts) -> Span:
    """The part of a file that a GET or HEAD asks for. Several ranges at once, other units and what is no range at all
    are answered with the whole file, as the RFC allows."""
    if _names(headers.get("if-none-match", ""), facts.etag):
        return Span(304, 0, 0)
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if method != "GET" or match is None or not _is_same(headers.get("if-range"), facts):
        return Span(200, 0, facts.num_bytes)
    first, last = match.groups()
    if not first and not last:
        return Span(200, 0, facts.num_bytes)
    if first and last and int(last) < int(first):
        return Span(200, 0, facts.num_bytes)
    start = int(first) if first else max(0, facts.num_bytes - int(last))
    end = min(int(last) + 1, facts.num_bytes) if first and last else facts.num_bytes
    return Span(206, start, end) if start < end else Span(416, 0, 0)


def last_modified(facts: FileFacts) -> str:
    """The HTTP date of a file."""
    return formatdate(facts.written_at, usegmt=True)


def _names(condition: str, etag: str) -> bool:
    """Whether an If-None-Match names this version; weak marks do not count here (section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return "*" in tags or etag in tags


def _is_same(condition: str | None, facts: FileFacts) -> bool:
    """Whether an If-Range allows a part: it is absent, or names this version exactly (section 13.1.5)."""
    return condition is None or condition.strip() in (facts.etag, last_modified(facts))
