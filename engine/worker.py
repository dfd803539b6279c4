"""RankWorker: what one rank's process hosts. It turns jobs into files; the coordinator decides when.

A clip's way: `begin` (text, pictures, noise), `steps` until all denoising steps are made, `decode` and `mux` on rank 0.
All ranks get the same calls in the same order, because steps exchange data between them. Arguments and results are
plain values (engine.messages); no tensor leaves the process. The model is that of `engine.pipeline.Pipeline`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from engine.activation_meter import ActivationMeter, reset_cuda_peak
from engine.clip import Clip
from engine.clip_batch import ClipBatch
from engine.conditioning import MediaLimits
from engine.messages import ClipJob, LoadReport, MuxReport, StepReport, WorkerConfig
from engine.pipeline import Pipeline
from engine.rendezvous import BACKENDS, Rendezvous
from hhray.errors import ConfigError, EngineFault

__all__ = ["ClipJob", "LoadReport", "MuxReport", "RankWorker", "StepReport", "WorkerConfig"]

BARE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(slots=True)
class _Work:
    """A batch in this process. `decoded` holds rank 0's clips until they are muxed; `peak_bytes` is the last
    measurement of the batch's activations."""

    batch: ClipBatch
    decoded: dict[int, Clip] = field(default_factory=dict)
    peak_bytes: int = 0


class RankWorker:
    """One rank of a gang. Calls come one at a time: open_rendezvous (rank 0), join, load, then batches.

    Raises:
        ConfigError: the device does not exist here.
    """

    def __init__(self, config: WorkerConfig) -> None:
        if config.device not in BACKENDS or (config.device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"no device {config.device!r} on this machine; use one of: {', '.join(BACKENDS)}")
        self._config = config
        self._device = torch.device(config.device)
        self._rendezvous = Rendezvous(config.rank, config.world_size, self._device)
        self._pipeline = Pipeline(
            config.served,
            Path(config.checkpoint) if config.checkpoint else None,
            tiers=config.tiers,
            max_seconds=config.max_seconds,
            decoder=config.decoder,
            frames_per_second=config.frames_per_second,
            sample_rate=config.sample_rate,
            reference_noise=config.reference_noise,
            limits=MediaLimits(config.max_pixels, Path(config.scratch_dir)),
            compiled=config.compiled,
            kernel_dir=Path(config.kernel_dir) if config.kernel_dir else None,
            warm_up=config.warm_up,
        )
        self._work: dict[str, _Work] = {}
        torch.set_num_threads(config.threads)

    def open_rendezvous(self, host: str) -> int:
        """Rank 0: open the store all ranks meet at; returns its port."""
        return self._rendezvous.open(host)

    def join(self, host: str, port: int, timeout_seconds: float) -> None:
        """Form the group with the other ranks, which must call this too; a single rank meets nobody.

        Raises:
            EngineFault: not all ranks came within `timeout_seconds`.
        """
        self._rendezvous.join(host, port, timeout_seconds)

    def load(self) -> LoadReport:
        """Load the model onto the device and make one tiny forward pass; all ranks at the same time.

        Raises:
            ConfigError: the weights are damaged, do not fit the device's memory, or not the number of ranks.
        """
        began, config = time.monotonic(), self._config
        self._pipeline.to(self._device, config.rank, config.world_size)
        with ActivationMeter([]):  # its first use takes a second of imports
            torch.zeros(1, device=self._device)
        self._synchronise()
        parameters, num_bytes = self._pipeline.weights_on_device()
        return LoadReport(time.monotonic() - began, parameters, num_bytes)

    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...]) -> None:
        """Text features, picture latents, positions and initial noise of a batch of clips of one shape.

        Raises:
            MediaError: a file cannot be read.
            EngineFault: no jobs, jobs of different shapes, or a batch of this name exists.
        """
        if batch_id in self._work:
            raise EngineFault(f"batch {batch_id} exists already; end it first")
        self._work[batch_id] = _Work(self._pipeline.begin(jobs))

    @torch.inference_mode()
    def steps(self, batch_id: str, first: int, count: int) -> StepReport:
        """Make denoising steps `first` .. `first + count - 1`, counted over all passes.

        Raises:
            EngineFault: no such batch, or `first` is not its next step.
        """
        work = self._found(batch_id)
        batch, on_cuda = work.batch, self._device.type == "cuda"
        began, sent, cold = time.monotonic(), batch.bytes_sent, self._pipeline.shapes.cold
        base = reset_cuda_peak(self._device) if on_cuda else 0
        for index in range(first, first + count):
            if index == 0 and not on_cuda:
                work.peak_bytes = _measured_step(batch, index)
            else:
                batch.step(index)
        self._synchronise()
        if on_cuda:
            work.peak_bytes = torch.cuda.max_memory_allocated(self._device) - base
        seconds, sent = time.monotonic() - began, batch.bytes_sent - sent
        return StepReport(first, count, seconds, sent, work.peak_bytes, self._pipeline.shapes.cold - cold)

    def decode(self, batch_id: str, index: int) -> None:
        """Rank 0: turn the latents of one finished clip into frames and sound, kept here until `mux` or `end`.

        Raises:
            EngineFault: no such batch or clip, or steps are missing.
        """
        work = self._found(batch_id)
        if self._config.rank == 0:
            work.decoded[index] = self._pipeline.decode(work.batch, index)

    def mux(self, batch_id: str, index: int, attempt_name: str) -> MuxReport | None:
        """Rank 0: write a decoded clip as `attempt_name` in the scratch directory and free its frames; None elsewhere.

        Raises:
            EngineFault: no such batch, the clip is not decoded, or the name is not a bare file name.
        """
        work = self._found(batch_id)
        if self._config.rank != 0:
            return None
        if not BARE_NAME.fullmatch(attempt_name):
            raise EngineFault(f"{attempt_name!r} is not a bare file name of letters, digits, dots, dashes, underscores")
        if index not in work.decoded:
            raise EngineFault(f"clip {index} of batch {batch_id} is not decoded")
        scratch, clip = Path(self._config.scratch_dir), work.decoded.pop(index)
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / attempt_name
        threads = self._config.threads * self._config.world_size  # the other ranks wait for this one
        written = clip.save(path, threads)
        size = clip.size
        num_bytes = path.stat().st_size
        frames, samples = written.num_frames, written.num_samples
        return MuxReport(str(path), num_bytes, frames, samples, size.width, size.height, clip.notice)

    def latents(self, batch_id: str, index: int) -> tuple[Tensor, Tensor]:
        """A clip's latents as they are now: video float32 [48, T, h, w] and audio float32 [A, 64].

        Raises:
            EngineFault: no such batch or clip.
        """
        return self._found(batch_id).batch.latents(index)

    def end(self, batch_id: str) -> None:
        """Forget a batch in whatever state it is, or none of that name."""
        self._work.pop(batch_id, None)

    def close(self) -> None:
        """Leave the group of ranks."""
        self._work.clear()
        self._rendezvous.close()

    def _found(self, batch_id: str) -> _Work:
        try:
            return self._work[batch_id]
        except KeyError:
            raise EngineFault(f"no batch {batch_id} on rank {self._config.rank}; begin it first") from None

    def _synchronise(self) -> None:
        """Wait for the device, so that measured seconds are true; between steps only."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _measured_step(batch: ClipBatch, index: int) -> int:
    """Make a step and return the most bytes its activations took at one time."""
    with ActivationMeter(batch.known_tensors) as meter:
        batch.step(index)
    return int(meter.peak_bytes)
