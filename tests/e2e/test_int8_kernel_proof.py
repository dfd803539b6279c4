"""Proof: the published kernels of 8-bit attention, interpreted, compute the plain arithmetic that the gate measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

MISSING = [name for name in ("sageattention", "triton") if find_spec(name) is None]

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}"),
]


def test_the_published_kernels_compute_the_plain_arithmetic(keep_proof: Callable[[str, dict[str, Any]], None]) -> None:
    command = [sys.executable, str(Path(__file__).with_name("interpreted_kernels.py"))]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    keep_proof("int8_attention_kernels", facts)
    for channels in (64, 128):
        assert facts[f"fault of {channels} channels"] == ""
        assert facts[f"relative to plain arithmetic, {channels} channels, 4096 keys"] < 0.002
        assert facts[f"relative to plain arithmetic, {channels} channels, 4097 keys"] < 63 / (
            63 + 4097
        )  # rows are made
    assert facts["error of 128 keys, rows absent"] < 0.02  # none is
    assert facts["error of 100 keys, rows absent"] > 0.1  # why rows are made
