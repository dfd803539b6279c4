"""OpenAI dialect, inwards: the fields of a form or a JSON body as one nested object. Pure functions.

Forms flatten objects into names: `metadata[ratio]=9:16`, `media[][url]=...` (the n-th value of a name belongs to the
n-th item), `input_reference[0]=...`. JSON comes as it is. What resellers wrap is unwrapped: `metadata`, `extra_body`
and the other dialect's `input` and `parameters`, whose fields count where the body itself does not name them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from deployment.dialects.dashscope_query import shown
from hhray.errors import InvalidParameter

MAX_DEPTH = 5
MAX_FIELDS = 200
_NAME = re.compile(r"([A-Za-z0-9_.-]{1,64})((?:\[[A-Za-z0-9_.-]{0,64}\])*)")
_PART = re.compile(r"\[([A-Za-z0-9_.-]{0,64})\]")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_TRUTH = {"true": True, "false": False}
WRAPPERS = ("metadata", "extra_body", "extra_params", "input", "parameters")
# Fields that are text whatever they look like.
TEXTS = frozenset({"prompt", "dialogue", "model", "language", "negative_prompt", "size", "webhook_url"})

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """A file that came with the request: `num_bytes` long, at the beginning."""

    file: BinaryIO
    num_bytes: int


def nested(pairs: Iterable[tuple[str, str | Upload]]) -> Fields:
    """The object that the pairs of a form flatten.

    Raises:
        InvalidParameter: a name is malformed, too deep, or means two things.
    """
    root: Fields = {}
    seen: dict[str, int] = {}
    for count, (name, value) in enumerate(pairs):
        match = _NAME.fullmatch(name)
        path = [] if match is None else [match.group(1), *_PART.findall(match.group(2))]
        if not path or len(path) > MAX_DEPTH or count >= MAX_FIELDS:
            raise InvalidParameter(
                f"form: expected at most {MAX_FIELDS} fields named as in metadata[ratio], at most {MAX_DEPTH} deep, "
                f"got {shown(name)}."
            )
        at = seen[name] = seen.get(name, -1) + 1
        _set(root, path, value, at, name)
    return {name: _with_lists(value) for name, value in root.items()}


def unwrapped(fields: Fields) -> Fields:
    """The fields with those of the wrappers beside them; what the body itself names wins.

    Raises:
        InvalidParameter: a wrapper that is no object.
    """
    flat = {name: value for name, value in fields.items() if name not in WRAPPERS and value is not None}
    for name in WRAPPERS:
        wrapped = fields.get(name)
        if wrapped is None:
            continue
        inner = unwrapped(_object(name, wrapped))
        flat = {**inner, **flat}
    return flat


def plain(name: str, value: object) -> object:
    """A parameter's value, its type made plain: forms have no other type than text, and clients send "5" for 5."""
    if name in TEXTS or not isinstance(value, str):
        return value
    if _WHOLE.fullmatch(value):
        return int(value)
    return _TRUTH.get(value.lower(), value)


def _object(name: str, value: object) -> Fields:
    """A wrapper: an object, or the JSON text of one, as forms send it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"{name}: expected an object, or the JSON text of one.") from error
    if not isinstance(value, dict):
        raise InvalidParameter(f"{name}: expected an object, or the JSON text of one, got {shown(value)}.")
    return value


def _set(root: Fields, path: list[str], value: str | Upload, at: int, name: str) -> None:
    """Put a value where its path leads; `at` is the place that an empty step means. A name that comes again is a
    list."""
    holder = root
    *steps, last = (step or str(at) for step in path)
    for step in steps:
        inner = holder.setdefault(step, {})
        if not isinstance(inner, dict):
            raise InvalidParameter(f"form: {shown(name)} means two things.")
        holder = inner
    known = holder.get(last)
    if isinstance(known, dict):
        raise InvalidParameter(f"form: {shown(name)} means two things.")
    holder[last] = value if known is None else [*(known if isinstance(known, list) else [known]), value]


def _with_lists(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Objects whose names are all numbers are the lists they stand for."""
    if not isinstance(value, dict):
        return value
    inner = {name: _with_lists(item) for name, item in value.items()}
    if inner and all(name.isdecimal() and len(name) < 4 for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
