"""The task store on PostgreSQL 14 or newer: a cluster of machines."""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from deployment.store.migrations import check_version
from deployment.store.postgres.connection import LimitedConnection, Limits, checked_url, place_of
from deployment.store.postgres.database import Clock, PostgresDatabase
from deployment.store.postgres.schema import version_of
from deployment.store.statement_store import MAIN_CLUSTER, StatementStore
from hhray.errors import StoreUnavailable


class PostgresStore(StatementStore):
    """The store in the database of `url`, made by `hhray migrate`; at most `connections` of this process.

    Raises:
        ConfigError: the URL cannot be read, or the database holds no store of this version.
        StoreUnavailable: nobody answers.
    """

    def __init__(
        self,
        url: str,
        cluster: str = MAIN_CLUSTER,
        connections: int = 8,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        conninfo = checked_url(url, limits or Limits())
        what = f"the task store in {place_of(conninfo)}"
        try:
            with LimitedConnection.connect(conninfo, row_factory=dict_row) as connection:
                version = version_of(connection)
        except psycopg.Error as error:
            raise StoreUnavailable(f"{what} does not answer: {str(error).splitlines()[0]}") from error
        check_version(what, version)
        super().__init__(PostgresDatabase(conninfo, connections, limits, clock), cluster)
