"""The loader of named statements, and that none is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deployment.store
from deployment.store.named_sql import parse_queries, queries


def test_statements_are_found_by_name():
    text = "-- what this is\n\n-- name: one\nSELECT 1;\n\n-- name: two\nSELECT 2 -- a remark\n  + 0;\n"
    assert parse_queries(text) == {"one": "SELECT 1;", "two": "SELECT 2 -- a remark\n  + 0;"}


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="one is defined twice"):
        parse_queries("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")


def test_every_statement_is_used_and_every_name_used_exists():
    folder = Path(deployment.store.__file__).parent
    code = "\n".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    used = set(re.findall(r'transaction\.(?:all|one|run)\(\s*"(\w+)"', code))
    assert used == set(queries())
