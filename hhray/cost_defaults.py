"""Constants of the cost model until somebody measures theirs: two kinds of rank, and where the figures are from.

CPU: fitted by `hhray fit-costs` to rows of one thread of an AMD EPYC (engine/bench/results/README.md tells how). CUDA:
published, never measured here. Rates are those that `hhray fit-costs engine/bench/results/published-h100.jsonl` gives
for one H100, 544 TFLOP/s in all of the transformer; three rows say nothing about overheads. Weights are read at the
3.35 TB/s and bytes exchanged at the 450 GB/s, one direction, of its data sheet. A collective costs 0.2 ms beside its
bytes: a guess. A published table of a 20 B network on H20s (GF-DiT, arXiv 2606.13501: 605, 350, 207 ms a step of 4,096
tokens on 1, 2, 4 GPUs) comes to 0.4 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hhray.cost import Overheads


@dataclass(frozen=True, slots=True)
class DeviceCosts:
    """What a CostModel is made of, besides what is served."""

    flops_per_second: float
    pixels_per_second: float
    overheads: Overheads


DEVICE_COSTS = {
    "cpu": DeviceCosts(4e10, 2e7, Overheads()),
    # what writes the file works beside the GPU and holds no rank
    "cuda": DeviceCosts(
        5.4e14,
        math.inf,
        Overheads(
            memory_bytes_per_second=3.35e12,
            exchange_seconds=2e-4,
            link_bytes_per_second=4.5e11,
            decoded_pixels_per_second=4.2e7,
        ),
    ),
}
