"""Classes that an operator names in settings as "package.module:Class"."""

from __future__ import annotations

import importlib
from typing import Any

from hhray.errors import ConfigError


def load_class(setting: str, spec: str) -> type[Any]:
    """The class that `spec` names; `setting` begins the message of an error.

    Raises:
        ConfigError: it cannot be imported, or is no class.
    """
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"{setting}: expected package.module:Class, got {spec!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigError(f"{setting}: cannot import {spec!r}: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"{setting}: {spec!r} is no class; expected one")
    return found


def make_plugin(setting: str, spec: str, options: dict[str, str] | None = None, *, has: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - of any class
    """An instance of the class that `spec` names, made with these keyword arguments.

    Raises:
        ConfigError: it cannot be imported or made, or lacks a method of those it must have.
    """
    kind = load_class(setting, spec)
    lacks = [name for name in has if not callable(getattr(kind, name, None))]
    if lacks:
        raise ConfigError(f"{setting}: {spec!r} lacks the methods {', '.join(lacks)}")
    try:
        return kind(**(options or {}))
    except ConfigError:
        raise
    except Exception as error:  # a constructor may raise anything
        raise ConfigError(f"{setting}: {spec!r} cannot be made: {type(error).__name__}: {error}") from error
