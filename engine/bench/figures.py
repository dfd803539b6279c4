"""What was measured of one stage, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Self

from engine.bench.peak import GemmPeak


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage of one clip, or of several denoised as one, on some ranks.

    Attributes:
        stage: base, 540p_sr, 1080p_sr, video decode or audio decode.
        size: pixels, or what is decoded.
        tokens: of the stream on all ranks together; 0 of a decoder.
        steps: of a clip; 1 of a decoder.
        seconds: of each timed step, in order.
        flops: of one step on all ranks together, by kind.
        bytes_sent: of one step, of the rank that sends most to the others.
        peak_bytes: on the rank's device, weights included; of the rank that needs most.
        kernels: attention operators that ran, or the decoder's name.
        device: cpu or cuda.
        profile: seconds of one step on the rank, by kind of operator; empty of a decoder.
        items: clips that a step is of.
    """

    stage: str
    size: str
    tokens: int
    steps: int
    seconds: tuple[float, ...]
    flops: dict[str, int]
    bytes_sent: int
    peak_bytes: int
    kernels: tuple[str, ...]
    device: str
    profile: dict[str, float] = field(default_factory=dict)
    items: int = 1

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict` and JSON."""
        return cls(**{**row, "seconds": tuple(row["seconds"]), "kernels": tuple(row["kernels"])})

    @property
    def seconds_per_step(self) -> float:
        """The median."""
        return median(self.seconds)

    @property
    def seconds_per_clip(self) -> float:
        return self.steps * self.seconds_per_step / self.items

    def flops_per_second(self, num_devices: int) -> float:
        """What each of the devices that share a step reaches."""
        return sum(self.flops.values()) / self.seconds_per_step / num_devices

    def row(self, peak: GemmPeak, num_devices: int) -> dict[str, Any]:
        """As plain values. Rates and the share of the peak are of one device; null where no FLOPs were counted, and the
        share also where the stage ran on another device than the peak was measured on."""
        rate = self.flops_per_second(num_devices) if sum(self.flops.values()) else None
        share = rate / peak.flops_per_second if rate is not None and self.device == peak.device else None
        return {
            "stage": self.stage,
            "size": self.size,
            "tokens": self.tokens,
            "steps_per_clip": self.steps,
            "seconds_per_step": self.seconds_per_step,
            "seconds_each": list(self.seconds),
            "seconds_per_clip": self.seconds_per_clip,
            "flops_per_step": self.flops,
            "tflops_per_second": None if rate is None else rate / 1e12,
            "share_of_gemm_peak": share,
            "peak_memory_bytes": self.peak_bytes,
            "bytes_exchanged_per_step": self.bytes_sent,
            "kernels": list(self.kernels),
            "device": self.device,
            "profiled_seconds": self.profile,
        }


def of_all_ranks(ranks: Sequence[StageFigures]) -> StageFigures:
    """One stage as its slowest rank saw each step, with the most bytes and memory of any."""
    first = ranks[0]
    return replace(
        first,
        seconds=tuple(max(each) for each in zip(*(one.seconds for one in ranks), strict=True)),
        bytes_sent=max(one.bytes_sent for one in ranks),
        peak_bytes=max(one.peak_bytes for one in ranks),
    )
