"""PROMISES.md names tests that exist, and leaves no right side empty."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "PROMISES.md").read_text(encoding="utf-8")


def test_every_named_test_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 40
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (HERE / file).is_file() or (test and f"def {test}(" not in (HERE / file).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_an_issue_without_the_mark_in_progress_has_a_proof_for_every_promise() -> None:
    sections = re.split(r"^## ", TEXT, flags=re.M)[1:]
    closed = [section for section in sections if "(in progress)" not in section.splitlines()[0]]
    assert closed
    rows = [line.strip("|").split("|") for section in closed for line in section.splitlines() if line.startswith("|")]
    assert [left.strip() for left, *right in rows if not "".join(right).strip()] == []
