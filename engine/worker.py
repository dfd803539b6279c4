"""RankWorker: what one rank's process hosts. It turns jobs into files; the coordinator decides when.

A clip's way: `begin` (text, pictures, noise), `steps` until all denoising steps are made, `decode`, then `mux`. Between
any two steps `move` gives it to another block of ranks. All ranks get the same calls in the same order, because steps
and decodes exchange data between them; those outside a batch's block have nothing to do in its steps and return at
once, so that batches on other blocks run at the same time. `mux` and `end` exchange nothing and may be called from a
second thread, so that a clip's file is waited for beside the next one's steps. Arguments and results are plain values
(engine.messages); no tensor leaves the process. The model is that of `engine.pipeline.Pipeline`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engine.activation_meter import ActivationMeter
from engine.attention import attention_backends
from engine.clip_files import ClipFiles
from engine.clip_move import move_batch
from engine.conditioning import MediaLimits
from engine.hosted_batch import HostedBatch
from engine.messages import ClipJob, LoadReport, MoveReport, MuxReport, StepReport, WorkerConfig
from engine.pipeline import Pipeline
from engine.rendezvous import BACKENDS, Rendezvous
from engine.video_encoder import encoder_for
from hhray.blocks import Block
from hhray.errors import ConfigError, EngineFault
from hhray.parallel_layout import ParallelLayout

__all__ = ["ClipJob", "LoadReport", "MoveReport", "MuxReport", "RankWorker", "StepReport", "WorkerConfig"]


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
            layout=config.layout,
            video_only_ranks=config.video_only_ranks,
            precision=config.precision,
            attention_precision=config.attention_precision,
            compiled=config.compiled,
            kernel_dir=Path(config.kernel_dir) if config.kernel_dir else None,
            warm_up=config.warm_up,
        )
        self._work: dict[str, HostedBatch] = {}
        self._files = ClipFiles(Path(config.scratch_dir), encoder_for(config.device))
        torch.set_num_threads(config.threads)

    def open_rendezvous(self, host: str) -> int:
        """Rank 0: open the store all ranks meet at; returns its port."""
        return self._rendezvous.open(host)

    def join(self, host: str, port: int, timeout_seconds: float) -> None:
        """Form the groups with the other ranks, which must call this too; a single rank meets nobody.

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
        attention, arithmetic = attention_backends(), self._pipeline.arithmetic
        return LoadReport(time.monotonic() - began, parameters, num_bytes, attention, arithmetic)

    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...]) -> None:
        """Text features, picture latents, positions and initial noise of a batch of clips of one shape, on all ranks.

        Raises:
            MediaError: a file cannot be read.
            EngineFault: no jobs, jobs of different shapes, or a batch of this name exists.
        """
        if batch_id in self._work:
            raise EngineFault(f"batch {batch_id} exists already; end it first")
        self._work[batch_id] = HostedBatch(self._pipeline.begin(jobs), Block(0, self._config.world_size))

    @torch.inference_mode()
    def steps(self, batch_id: str, first: int, count: int) -> StepReport:
        """Make denoising steps `first` .. `first + count - 1`, counted over all passes; nothing outside the block.

        Raises:
            EngineFault: no such batch, or `first` is not its next step.
        """
        work = self._found(batch_id)
        if self._config.rank not in work.block:
            return StepReport(first, count, 0.0, 0, 0)
        cold = self._pipeline.shapes.cold
        report = work.steps(first, count, self._device)
        return replace(report, cold_shapes=self._pipeline.shapes.cold - cold)

    @torch.inference_mode()
    def move(self, batch_id: str, block: Block, layout: ParallelLayout | None = None) -> MoveReport:
        """Have the ranks of `block` make the next steps of a batch, in `layout` or in the one that moves least.

        Raises:
            EngineFault: no such batch, or a deterministic clip, which stays where it began.
            ConfigError: the gang has no such block, its ranks no room, or the layout does not fit.
        """
        work, groups, began = self._found(batch_id), self._rendezvous.groups, time.monotonic()
        if work.is_pinned:
            raise EngineFault(f"batch {batch_id} is deterministic and stays on ranks {work.block}; move another")
        if self._config.video_only_ranks:
            raise EngineFault("ranks that hold video only keep no other experts, so clips stay on all ranks")
        groups.check(block)
        if layout is not None:
            layout.check(block.num_ranks, self._config.served.size)
        self._pipeline.check_room(work.batch, block.num_ranks, layout)
        sent = move_batch(work.batch, groups, work.block, block, layout, self._device)
        work.block = block
        self._synchronise()
        return MoveReport(time.monotonic() - began, sent)

    def decode(self, batch_id: str, index: int) -> None:
        """Turn the latents of one finished clip into frames and sound, by its block together; rank 0 begins its file.

        Raises:
            EngineFault: no such batch or clip, steps are missing, or it is on a block without rank 0.
        """
        work = self._found(batch_id)
        if 0 not in work.block:
            raise EngineFault(f"batch {batch_id} is on ranks {work.block}; move it to a block with rank 0 first")
        if self._config.rank not in work.block:
            return
        decoding = self._pipeline.decoding(work.batch, index, self._rendezvous.groups.link(work.block))
        if decoding.frames is not None:
            self._files.begin(batch_id, index, decoding)
        decoding.run()
        self._synchronise()

    def mux(self, batch_id: str, index: int, attempt_name: str) -> MuxReport | None:
        """Rank 0: wait for the file of a decoded clip, `attempt_name` in the scratch directory; None elsewhere.

        Raises:
            EngineFault: no such batch, the clip is not decoded, or the name is not a bare file name.
            av.error.FFmpegError, OSError: the file could not be written.
        """
        self._found(batch_id)
        return self._files.finish(batch_id, index, attempt_name) if self._config.rank == 0 else None

    def latents(self, batch_id: str, index: int) -> tuple[Tensor, Tensor]:
        """A clip's latents as they are now: video float32 [48, T, h, w] and audio float32 [A, 64].

        Raises:
            EngineFault: no such batch or clip.
        """
        return self._found(batch_id).batch.latents(index)

    def end(self, batch_id: str) -> None:
        """Forget a batch in whatever state it is, or none of that name."""
        self._work.pop(batch_id, None)
        self._files.forget(batch_id)

    def close(self) -> None:
        """Leave the group of ranks."""
        self._work.clear()
        self._files.close()
        self._rendezvous.close()

    def _found(self, batch_id: str) -> HostedBatch:
        try:
            return self._work[batch_id]
        except KeyError:
            raise EngineFault(f"no batch {batch_id} on rank {self._config.rank}; begin it first") from None

    def _synchronise(self) -> None:
        """Wait for the device, so that measured seconds are true; between steps only."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
