"""Which database the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from deployment.store.memory import MemoryStore, SharedTables
from deployment.store.migrations import Migrated
from deployment.store.sqlite import SqliteStore
from deployment.store.sqlite.file import migrate_file
from hhray.errors import ConfigError

if TYPE_CHECKING:
    from deployment.store.base import TaskStore
    from hhray.settings import Settings

_memories: WeakValueDictionary[str, SharedTables] = WeakValueDictionary()


def open_store(settings: Settings) -> TaskStore:
    """The store that `settings.store.url` names: PostgreSQL, or the SQLite file where it is empty.

    "memory:NAME" is one of this process alone, for tests: open stores of one name share their tables.

    Raises:
        ConfigError: the store cannot be opened, or is of another schema version.
        StoreUnavailable: PostgreSQL does not answer.
    """
    url, cluster = settings.store.url.get_secret_value(), settings.store.cluster
    if not url:
        return SqliteStore(settings.sqlite_file, cluster)
    if url.startswith("memory:"):
        shared = _memories.setdefault(url, SharedTables())
        return MemoryStore(shared, cluster)
    from deployment.store.postgres import PostgresStore  # noqa: PLC0415 - its driver, only where it is used

    return PostgresStore(url, cluster, settings.store.connections)


def ready_store(settings: Settings) -> None:
    """What a server on one machine does with its store before it starts: see that it can be opened.

    An older SQLite file is migrated: the server holds the lock of its data directory, so that no other one has it open.
    PostgreSQL is not: servers of the older version may be running on it, and who runs the cluster chooses the moment.

    Raises:
        ConfigError, StoreUnavailable: as `open_store`; or the store is one in memory.
    """
    url = settings.store.url.get_secret_value()
    if url.startswith("memory:"):
        raise ConfigError("store.url names a store in memory, but a server has several processes; leave it empty")
    if not url:
        migrate_file(settings.sqlite_file)
    open_store(settings).close()


def migrate_store(settings: Settings) -> Migrated:
    """Bring the store to this version; a new one where there is none. No server of an older version may use it.

    Raises:
        ConfigError: it cannot be opened or migrated, is newer, or is one in memory.
        StoreUnavailable: PostgreSQL does not answer.
    """
    url = settings.store.url.get_secret_value()
    if not url:
        return migrate_file(settings.sqlite_file)
    if url.startswith("memory:"):
        raise ConfigError("store.url names a store in memory, which nothing outlives; there is nothing to migrate")
    from deployment.store.postgres.schema import migrate_database  # noqa: PLC0415 - as above

    return migrate_database(url)


def store_name(settings: Settings) -> str:
    """The store in words, without user and password."""
    url = settings.store.url.get_secret_value()
    if not url:
        return str(settings.sqlite_file)
    if url.startswith("memory:"):
        return url
    from deployment.store.postgres.connection import Limits, checked_url, place_of  # noqa: PLC0415 - as above

    return f"PostgreSQL, {place_of(checked_url(url, Limits()))}"
