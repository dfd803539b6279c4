"""DashScope dialect, inwards: the query of a list call. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime

from deployment.dialects.dashscope_render import WIRE_ZONE
from deployment.store.base import TaskFilter
from hhray.errors import InvalidParameter
from hhray.tasks import TaskState

MAX_PAGE_SIZE = 100
WINDOW_SECONDS = 86_400.0


def parse_list(query: Mapping[str, str], tenant: str, now: float) -> TaskFilter:
    """The query of a list call, within a tenant: of the last 24 hours, or of a window that is no longer; one task that
    is named is found whenever it was submitted. Other parameters of the hosted API (api_key_id, region) are ignored.

    Args:
        now: seconds since the epoch.

    Raises:
        InvalidParameter: a filter is malformed.
    """
    status = query.get("status")
    if status and status not in TaskState.__members__:
        raise InvalidParameter(f"status: expected one of {', '.join(TaskState)}, got {shown(status)}.")
    start, end = _window(query, now)
    return TaskFilter(
        tenant=tenant,
        task_id=query.get("task_id") or None,
        model=query.get("model_name") or None,
        state=TaskState(status) if status else None,
        start=start,
        end=None if end is None else end + 0.999,  # the whole of the second that was named
        page=_number("page_no", query, default=1, most=1_000_000),
        page_size=_number("page_size", query, default=10, most=MAX_PAGE_SIZE),
    )


def shown(value: object) -> str:
    """A client's value as an error sentence may repeat it: short, ASCII, no structure."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _number(name: str, query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= most:
        raise InvalidParameter(f"{name}: expected an integer from 1 to {most}, got {shown(text)}.")
    return int(text)


def _window(query: Mapping[str, str], now: float) -> tuple[float | None, float | None]:
    start, end = _instant("start_time", query), _instant("end_time", query)
    if start is None and end is None:
        return (None if query.get("task_id") else now - WINDOW_SECONDS), None
    if start is None and end is not None:
        return end - WINDOW_SECONDS, end
    if start is not None and end is None:
        return start, start + WINDOW_SECONDS
    if start is not None and end is not None and not 0 <= end - start <= WINDOW_SECONDS:
        raise InvalidParameter("end_time: expected a time from start_time to 24 hours after it.")
    return start, end


def _instant(name: str, query: Mapping[str, str]) -> float | None:
    """Seconds since the epoch of a time given as YYYYMMDDhhmmss, UTC+8."""
    text = query.get(name)
    if not text:
        return None
    try:
        if not re.fullmatch(r"[0-9]{14}", text):
            raise ValueError
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=WIRE_ZONE).timestamp()
    except ValueError as error:
        raise InvalidParameter(f"{name}: expected a time as YYYYMMDDhhmmss (UTC+8), got {shown(text)}.") from error
