"""One comparison of one output, and its line of JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

FORWARD_TOLERANCE = 1e-5
SAMPLER_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Row:
    """A compared output. `error` says why, when there is nothing to compare; `rel_error` is ||a - b|| / ||b||."""

    case: str
    output: str
    rel_error: float | None
    max_abs: float | None
    tolerance: float | None
    ok: bool
    error: str = ""

    def json(self) -> str:
        """The row in one line; numbers that JSON does not know become null."""
        values = asdict(self)
        for key in ("rel_error", "max_abs", "tolerance"):
            if values[key] is not None and not math.isfinite(values[key]):
                values[key] = None
        if not self.error:
            del values["error"]
        return json.dumps(values, allow_nan=False)


def failure(case: str, output: str, reason: str) -> Row:
    """A case or output that cannot be compared."""
    return Row(case, output, None, None, None, False, reason)


def relative_error(value: Tensor, reference: Tensor) -> float:
    """||value - reference|| / ||reference|| in float64; for a reference of zeros, zero or infinity."""
    difference = float(torch.linalg.vector_norm(value.double() - reference.double()))
    scale = float(torch.linalg.vector_norm(reference.double()))
    if scale == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / scale


def compare(case: str, output: str, value: Tensor, reference: Tensor, tolerance: float) -> Row:
    """Our `value` against the recorded `reference`, which must be finite and of the same shape."""
    if value.shape != reference.shape:
        return failure(case, output, f"ours is {list(value.shape)}, the recorded one {list(reference.shape)}")
    if not (value.isfinite().all() and reference.isfinite().all()):
        return failure(case, output, "not all numbers are finite")
    error = relative_error(value, reference)
    largest = (value.double() - reference.double()).abs().max().item() if value.numel() else 0.0
    return Row(case, output, error, largest, tolerance, error <= tolerance)
