"""The schema of a PostgreSQL store: its version, and the migrations that bring it there."""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow, dict_row

from deployment.store.migrations import SCHEMA_VERSION, Migrated, migrations_after
from deployment.store.postgres.connection import Limits, checked_url, place_of
from hhray.errors import ConfigError, StoreUnavailable

_LOCK = 1751675489  # "hhra"
_LOCK_SECONDS = 60.0  # another `hhray migrate` may be at work


def version_of(connection: psycopg.Connection[DictRow]) -> int:
    """The schema version; 0: the database has no task store."""
    row = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL AS there").fetchone()
    if not row or not row["there"]:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) AS version FROM schema_version").fetchone()
    return int(row["version"]) if row else 0


def migrate_database(url: str) -> Migrated:
    """Bring the database to this version, from nothing if need be; for one migrator at a time.

    Each migration is one transaction, and waits at most 60 s for a lock.

    Raises:
        ConfigError: the URL cannot be read, the store is newer, or a migration fails.
        StoreUnavailable: nobody answers.
    """
    conninfo = checked_url(url, Limits())
    what = f"the task store in {place_of(conninfo)}"
    try:
        connection = psycopg.connect(conninfo, autocommit=True, row_factory=dict_row)
    except psycopg.Error as error:
        raise StoreUnavailable(f"{what} does not answer: {str(error).splitlines()[0]}") from error
    with connection:
        try:
            connection.execute(f"SET lock_timeout = {_LOCK_SECONDS * 1000:.0f}")
            # for the session and in a transaction of its own: one that began before the lock was got could go by a
            # cached catalogue, in which the tables of the migrator before are not there yet
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            before = version_of(connection)
            while _run_next(connection, what):
                pass
        except psycopg.Error as error:
            raise ConfigError(
                f"{what} could not be migrated: {str(error).splitlines()[0]}; what was committed before stays"
            ) from error
    return Migrated(before, SCHEMA_VERSION)


def _run_next(connection: psycopg.Connection[DictRow], what: str) -> bool:
    """Run the first migration that is missing, in one transaction; False: none is."""
    with connection.transaction():
        rest = migrations_after(what, "postgres", version_of(connection))
        if not rest:
            return False
        number, text = rest[0]
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT)")
        connection.execute(text)  # ships with this package
        connection.execute("INSERT INTO schema_version VALUES (%s, CAST(now() AS TEXT))", [number])
        return True
