"""Named SQL: each `-- name: verb` line of a file begins a statement that code calls by that name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


def read_sql(file_name: str) -> str:
    """The text of an .sql file that ships with this package."""
    return files("deployment.store").joinpath(file_name).read_text(encoding="utf-8")


def parse_queries(text: str) -> dict[str, str]:
    """Name -> statement. What stands before the first name is a comment.

    Raises:
        ValueError: a name occurs twice.
    """
    _, *parts = _NAME.split(text)
    queries: dict[str, str] = {}
    for name, statement in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"the query {name} is defined twice")
        queries[name] = statement.strip()
    return queries


@cache
def queries(dialect: str) -> dict[str, str]:
    """The statements of queries.sql and of the dialect's own file ("sqlite", "postgres"), read once per process."""
    return parse_queries(read_sql("queries.sql") + "\n" + read_sql(f"{dialect}/queries.sql"))


def with_percent_parameters(statement: str) -> str:
    """`:name` as `%(name)s`, which PostgreSQL's driver reads; a cast written as `::` is left alone."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))
