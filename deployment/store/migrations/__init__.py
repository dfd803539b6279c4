"""Versioned migrations: files `NNNN_what.sql`, one folder a dialect, the same numbers in both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hhray.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Migrated:
    """Schema versions before and after; 0: there was no store."""

    before: int
    after: int


@cache
def migrations(dialect: str) -> dict[int, str]:
    """Number -> text, in order, of "sqlite" or "postgres"."""
    folder = files("deployment.store.migrations").joinpath(dialect)
    found = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return {int(name[:4]): file.read_text(encoding="utf-8") for name, file in found}


SCHEMA_VERSION = max(migrations("sqlite"))


def migrations_after(what: str, dialect: str, version: int) -> list[tuple[int, str]]:
    """What a store of this version still needs, in order; `what` names it in the error.

    Raises:
        ConfigError: the store is newer than this hhray.
    """
    if version > SCHEMA_VERSION:
        check_version(what, version)
    return [(number, text) for number, text in migrations(dialect).items() if number > version]


def check_version(what: str, version: int) -> None:
    """Refuse a store of another schema version.

    Raises:
        ConfigError: with the remedy.
    """
    if version == SCHEMA_VERSION:
        return
    if version < SCHEMA_VERSION:
        remedy = "stop its servers and run `hhray migrate`"
    else:
        remedy = "run the hhray that wrote it, or name another store"
    raise ConfigError(f"{what} has schema version {version}, this hhray reads version {SCHEMA_VERSION}; {remedy}")
