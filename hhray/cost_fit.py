"""Fits the constants of the cost model to measured rows: least squares of relative errors, no constant below zero.

A constant of 0 is one that is left out, so the best non-negative fit is the best of the ordinary fits of all sets of
constants that come out positive (there are few). Sets are compared by Schwarz's criterion, n ln(RSS / n) + k ln n
(Annals of Statistics 6, 1978), so that a constant that explains only noise stays out; and a set may have one constant
for every two rows at most. What stays out is said, with the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hhray.cost_rows import DecodeRow, StepRow

Vector = NDArray[np.float64]
NOISE = 1e-9  # relative; below it a fit is exact
ROWS_PER_CONSTANT = 2
ALIKE = 1e-3  # of a column that others explain all but so little of
BOTH = "flops_per_second (attention too)"

STEP_FEATURES: dict[str, Callable[[StepRow], float]] = {
    "flops_per_second": lambda row: row.work.gemm_flops,
    "attention_flops_per_second": lambda row: row.work.attention_flops,
    BOTH: lambda row: row.work.gemm_flops + row.work.attention_flops,
    "layer_seconds": lambda row: row.work.layers,
    "item_seconds": lambda row: row.work.items,
    "forward_seconds": lambda row: row.work.forwards,
    "exchange_seconds": lambda row: row.work.collectives,
    "link_bytes_per_second": lambda row: row.work.bytes_sent,
}
STEP_HEADS = ((BOTH,), ("flops_per_second", "attention_flops_per_second"))
DECODE_FEATURES: dict[str, Callable[[DecodeRow], float]] = {
    "decoded_pixels_per_second": lambda row: row.pixels,
    "decode_seconds": lambda _row: 1.0,
}
DECODE_HEADS = (("decoded_pixels_per_second",),)


@dataclass(frozen=True, slots=True)
class Residual:
    """A row as measured and as the fit has it, in seconds."""

    label: str
    seconds: float
    predicted: float

    @property
    def ratio(self) -> float:
        """actual / predicted."""
        return self.seconds / self.predicted


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants by name, in seconds or per second; for every other constant why it was left out; every row's error."""

    constants: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    residuals: tuple[Residual, ...] = ()


def fit_steps(rows: Sequence[StepRow]) -> Fit:
    """The constants of denoising steps; an empty fit without rows."""
    features = {name: np.array([of(row) for row in rows], dtype=float) for name, of in STEP_FEATURES.items()}
    return _fit(features, STEP_HEADS, rows)


def fit_decode(rows: Sequence[DecodeRow]) -> Fit:
    """The constants of a decode; an empty fit without rows."""
    features = {name: np.array([of(row) for row in rows], dtype=float) for name, of in DECODE_FEATURES.items()}
    return _fit(features, DECODE_HEADS, rows)


def _fit(features: dict[str, Vector], heads: Sequence[tuple[str, ...]], rows: Sequence[StepRow | DecodeRow]) -> Fit:
    if not rows:
        return Fit()
    seconds = np.array([row.seconds for row in rows])
    columns = {name: column / seconds for name, column in features.items()}  # relative: all rows weigh alike
    found = [(score, names, values) for names, score, values in _candidates(columns, heads, len(rows))]
    _, names, values = min(found, key=lambda one: one[0])
    predicted = sum(features[name] * value for name, value in zip(names, values, strict=True))
    residuals = tuple(
        Residual(row.label, row.seconds, float(said)) for row, said in zip(rows, np.atleast_1d(predicted), strict=True)
    )
    return Fit(_constants(names, values), _left_out(columns, names, len(rows)), residuals)


def _candidates(
    columns: dict[str, Vector], heads: Sequence[tuple[str, ...]], num_rows: int
) -> Iterator[tuple[tuple[str, ...], float, Vector]]:
    """Every set of constants that the rows can tell apart and that fits without one below zero, with its score."""
    in_heads = {name for head in heads for name in head}
    enough = {name for name, column in columns.items() if np.count_nonzero(column) >= ROWS_PER_CONSTANT}
    others = [name for name in columns if name in enough - in_heads]
    most = max(1, num_rows // ROWS_PER_CONSTANT)
    for head in heads:
        for count in range(max(0, most - len(head)) + 1 if len(head) <= most else 0):
            for rest in itertools.combinations(others, count):
                names = (*head, *rest)
                values = _solved(np.stack([columns[name] for name in names], axis=1))
                if values is not None:
                    error = float(np.mean((sum(columns[n] * v for n, v in zip(names, values, strict=True)) - 1) ** 2))
                    score = num_rows * math.log(error + NOISE**2) + len(names) * math.log(num_rows)
                    yield names, score, values


def _solved(matrix: Vector) -> Vector | None:
    """x > 0 with the least |matrix x - 1|; None where there is none, or where columns are too much alike."""
    scale = np.linalg.norm(matrix, axis=0)
    if not scale.all() or np.linalg.svd(matrix / scale, compute_uv=False)[-1] < ALIKE:
        return None
    values: Vector = np.linalg.lstsq(matrix / scale, np.ones(len(matrix)), rcond=None)[0] / scale
    return values if (values > 0).all() else None


def _constants(names: Sequence[str], values: Vector) -> dict[str, float]:
    found = {}
    for name, value in zip(names, map(float, values), strict=True):
        found["flops_per_second" if name == BOTH else name] = value if name.endswith("_seconds") else 1 / value
    return found


def _left_out(columns: dict[str, Vector], chosen: Sequence[str], num_rows: int) -> dict[str, str]:
    said = {}
    full = len(chosen) >= max(1, num_rows // ROWS_PER_CONSTANT)
    for name, column in columns.items():
        if name in chosen or name == BOTH or (name == "flops_per_second" and BOTH in chosen):
            continue
        matrix = np.stack([columns[one] for one in chosen], axis=1)
        unexplained = column - matrix @ np.linalg.lstsq(matrix, column, rcond=None)[0]
        if np.count_nonzero(column) < ROWS_PER_CONSTANT:
            found = np.count_nonzero(column)
            said[name] = f"{found} row(s) have any of it, {ROWS_PER_CONSTANT} are needed; measure more than one rank"
        elif np.linalg.norm(unexplained) < ALIKE * np.linalg.norm(column):
            said[name] = f"cannot be told from {', '.join(chosen)}; measure other shapes, batches or networks"
        elif full:
            said[name] = f"{num_rows} rows are too few for another constant; each needs {ROWS_PER_CONSTANT}"
        else:
            said[name] = "these rows do not ask for it"
    return said
