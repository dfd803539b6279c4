"""The parts of the description, read and put together once."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import yaml

from hhray import __version__

Json = dict[str, Any]

PARTS = ("server.yaml", "dashscope.yaml", "videos.yaml")


@functools.cache
def description() -> Json:
    """The whole OpenAPI 3.1 document; not to be changed by its readers.

    Raises:
        ValueError: two parts define the same path or component.
    """
    server, *dialects = (_read(part) for part in PARTS)
    for dialect in dialects:
        _add(server["paths"], dialect["paths"])
        for kind, named in dialect["components"].items():
            _add(server["components"].setdefault(kind, {}), named)
    server["info"]["version"] = __version__
    return server


@functools.cache
def description_bytes() -> bytes:
    """The document as GET /openapi.json answers it."""
    return json.dumps(description(), ensure_ascii=False).encode()


def _read(part: str) -> Json:
    made: Json = yaml.safe_load(resources.files("deployment.openapi").joinpath(part).read_text(encoding="utf-8"))
    return made


def _add(into: Json, more: Json) -> None:
    if twice := into.keys() & more.keys():
        raise ValueError(f"described twice: {', '.join(sorted(twice))}")
    into.update(more)
