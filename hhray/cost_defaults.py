"""Constants of the cost model until somebody measures theirs: two kinds of rank, and where the figures are from.

CPU: one thread of an AMD EPYC, by `hhray fit-costs` from engine/bench/results/cpu-steps.jsonl, whose single rows vary
by a third; the decode is that of the embedded network, whose codec is slower than the stand-ins of pico and tiny. A
collective costs what is left of the one row of two ranks that was measured while the machine did nothing else.

CUDA: published, never measured here. Rates are those that `hhray fit-costs` gives for published-h100.jsonl, beside it:
of one H100, 544 TFLOP/s in all of the transformer; three rows say nothing about overheads. Weights are read at the
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
    "cpu": DeviceCosts(
        4e10,
        2e7,
        Overheads(layer_seconds=1e-3, exchange_seconds=1.5e-3, decoded_pixels_per_second=2e7, decode_seconds=0.035),
    ),
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
