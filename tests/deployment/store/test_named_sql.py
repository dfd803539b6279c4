"""The loader of named statements, and that none is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deployment.store
from deployment.store.named_sql import parse_queries, queries, with_percent_parameters


def test_statements_are_found_by_name():
    text = "-- what this is\n\n-- name: one\nSELECT 1;\n\n-- name: two\nSELECT 2 -- a remark\n  + 0;\n"
    assert parse_queries(text) == {"one": "SELECT 1;", "two": "SELECT 2 -- a remark\n  + 0;"}


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="one is defined twice"):
        parse_queries("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_every_statement_is_used_and_every_name_used_exists(dialect):
    folder = Path(deployment.store.__file__).parent
    files = [*folder.glob("*.py"), *folder.glob(f"{dialect}/*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    used = set(re.findall(r'(?:\.all|\.run|\bone)\(\s*(?:transaction, )?"(\w+)"', code))
    assert used == set(queries(dialect))


def test_parameters_are_spelt_as_the_driver_reads_them():
    statement = "SELECT a::TEXT FROM t WHERE b LIKE 'x%' AND c = :c AND d > :max_d"
    assert with_percent_parameters(statement) == (
        "SELECT a::TEXT FROM t WHERE b LIKE 'x%%' AND c = %(c)s AND d > %(max_d)s"
    )
