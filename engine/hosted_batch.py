"""A batch in a rank's process: whose ranks work on it, and what its steps took."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from engine.activation_meter import ActivationMeter, reset_cuda_peak
from engine.attention import pin_attention
from engine.clip_batch import ClipBatch
from engine.messages import StepReport
from hhray.blocks import Block


@dataclass(slots=True)
class HostedBatch:
    """`block` has the ranks that make the next steps; `peak_bytes` is the last measurement of the batch's
    activations."""

    batch: ClipBatch
    block: Block
    peak_bytes: int = 0

    @property
    def is_pinned(self) -> bool:
        """Whether it must stay on the block and in the layout it began in."""
        return any(one.job.deterministic for one in self.batch.prepared)

    def steps(self, first: int, count: int, device: torch.device) -> StepReport:
        """Make denoising steps `first` .. `first + count - 1`, with the other ranks of the block.

        Raises:
            EngineFault: `first` is not the batch's next step.
        """
        pin_attention(self.is_pinned)  # the fastest kernel is found by a clock, which may choose another tomorrow
        batch, on_cuda = self.batch, device.type == "cuda"
        began, sent = time.monotonic(), batch.bytes_sent
        base = reset_cuda_peak(device) if on_cuda else 0
        for index in range(first, first + count):
            if index == 0 and not on_cuda:
                self.peak_bytes = _measured_step(batch, index)
            else:
                batch.step(index)
        if on_cuda:
            torch.cuda.synchronize(device)  # between commands only, so that measured seconds are true
            self.peak_bytes = torch.cuda.max_memory_allocated(device) - base
        seconds, sent = time.monotonic() - began, batch.bytes_sent - sent
        return StepReport(first, count, seconds, sent, self.peak_bytes)


def _measured_step(batch: ClipBatch, index: int) -> int:
    """Make a step and return the most bytes its activations took at one time."""
    with ActivationMeter(batch.known_tensors) as meter:
        batch.step(index)
    return int(meter.peak_bytes)
