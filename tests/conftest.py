"""What all tests share: where the results of long proofs are kept."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

PROOFS = Path(__file__).parent / "proofs"


@pytest.fixture
def keep_proof() -> Callable[[str, dict[str, Any]], None]:
    """Keep the result of a long proof under tests/proofs, with the revision it was run at."""

    def keep(name: str, result: dict[str, Any]) -> None:
        where = {"revision": _revision(), "python": platform.python_version(), "ray": version("ray")}
        PROOFS.mkdir(exist_ok=True)
        (PROOFS / f"{name}.json").write_text(json.dumps({**where, **result}, indent=2) + "\n", encoding="utf-8")

    return keep


def _revision() -> str:
    """The commit, with "-dirty" when anything but results of proofs was changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)tests/proofs")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
