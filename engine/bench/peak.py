"""The machine's own limit: how fast it multiplies large matrices in the dtype the network computes in."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.bench.clock import CLOCKS, WALL, Clock
from engine.bench.device import synchronise

# [m, k] x [k, n]: cubes, and a wide layer as the transformer has them
SHAPES = {
    "cuda": ((8192, 8192, 8192), (16384, 16384, 16384), (32768, 5120, 27648)),
    "cpu": ((768, 768, 768), (1536, 1536, 1536)),
}
SECONDS_A_SHAPE = {"cuda": 1.0, "cpu": 0.3}
LEAST_RUNS = 3


@dataclass(frozen=True, slots=True)
class GemmPeak:
    """The fastest product seen: FLOP/s, its shape (m, k, n), its dtype's name, and cpu or cuda."""

    flops_per_second: float
    shape: tuple[int, int, int]
    dtype: str
    device: str


def gemm_peak(device: torch.device, dtype: torch.dtype, clock: Clock = CLOCKS[WALL]) -> GemmPeak:
    """The best of some large matrix products of random numbers on one device, on a CPU with all threads torch has."""
    name = str(dtype).removeprefix("torch.")
    found = [GemmPeak(_fastest(shape, device, dtype, clock), shape, name, device.type) for shape in SHAPES[device.type]]
    return max(found, key=lambda one: one.flops_per_second)


def _fastest(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """FLOP/s of the fastest of several products, the first of which does not count."""
    m, k, n = shape
    # random numbers: zeros need less power, and a GPU then runs faster than it ever does in earnest
    left = torch.randn(m, k, device=device).to(dtype)
    right = torch.randn(k, n, device=device).to(dtype)
    out = left @ right
    best, runs, ends = float("inf"), 0, clock() + SECONDS_A_SHAPE[device.type]
    while runs < LEAST_RUNS or clock() < ends:
        synchronise(device)
        began = clock()
        torch.mm(left, right, out=out)
        synchronise(device)
        best, runs = min(best, clock() - began), runs + 1
    return 2 * m * k * n / best
