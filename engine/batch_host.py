"""The batches that a rank hosts: what it does for them between `begin` and `end`, on one block after another.

A batch lives on the ranks of its block and on no other, so that batches on other blocks run at the same time. Between
any two steps `move` gives it to another block, or `pause` takes it off the ranks until `resume` puts it on a block
again. The ranks of a block get the calls of its batches in the same order, because steps, moves and decodes exchange
data between them; the block's first rank writes the files.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engine.clip_files import ClipFiles
from engine.clip_move import move_batch
from engine.clip_state import ClipState
from engine.exchange import GroupLink, Link
from engine.hosted_batch import HostedBatch
from engine.marking.clip_marks import marks_of
from engine.marking.invisible import load_invisible
from engine.messages import ClipJob, MoveReport, MuxReport, StepReport, WorkerConfig
from engine.paused_state import read_state, write_state
from engine.pipeline import Pipeline
from engine.rendezvous import Rendezvous
from engine.video_encoder import encoder_for
from hhray.blocks import Block
from hhray.errors import ConfigError, EngineFault
from hhray.parallel_layout import ParallelLayout

logger = logging.getLogger(__name__)


class BatchHost:
    """Batches of one rank: `pipeline` makes them with the ranks met at `rendezvous`. Calls come one at a time, but for
    `mux` and `end`, which exchange nothing and may come from a second thread."""

    def __init__(self, config: WorkerConfig, device: torch.device, rendezvous: Rendezvous, pipeline: Pipeline) -> None:
        self._config, self._device = config, device
        self._rendezvous, self._pipeline = rendezvous, pipeline
        self._files = ClipFiles(Path(config.scratch_dir), encoder_for(config.device))
        self._invisible = load_invisible(config.invisible)
        self._work: dict[str, HostedBatch] = {}
        self._paused: dict[str, ClipState] = {}

    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block | None = None) -> None:
        """Text features, picture latents, positions and initial noise of a batch of clips of one shape.

        Called on the ranks of the block that is to make them, all ranks of the gang unless one is named; and, before a
        `move`, on those that will join.

        Raises:
            MediaError: a file cannot be read.
            ConfigError: the gang has no such block, or its ranks no room.
            EngineFault: no jobs, jobs of different shapes, or a batch of this name exists.
        """
        if batch_id in self._work:
            raise EngineFault(f"batch {batch_id} exists already; end it first")
        block = block or self._whole
        work = HostedBatch(self._pipeline.begin(jobs, self._link(block)), block)
        if block != self._whole:
            self._check_block(work, block)
        self._work[batch_id] = work

    @torch.inference_mode()
    def steps(self, batch_id: str, first: int, count: int) -> StepReport:
        """Make denoising steps `first` .. `first + count - 1`, counted over all passes, with the block's other ranks.

        Raises:
            EngineFault: no such batch, not this rank's, or `first` is not its next step.
        """
        work, cold = self._mine(batch_id), self._pipeline.shapes.cold
        report = work.steps(first, count, self._device)
        return replace(report, cold_shapes=self._pipeline.shapes.cold - cold)

    @torch.inference_mode()
    def move(self, batch_id: str, block: Block, layout: ParallelLayout | None = None) -> MoveReport:
        """Have the ranks of `block` make the next steps of a batch, in `layout` or in the one that moves least.

        Called on the ranks of both blocks; those that join have begun the batch, those that leave forget it.

        Raises:
            EngineFault: no such batch, or a deterministic clip, which stays where it began.
            ConfigError: the gang has no such block, its ranks no room, or the layout does not fit.
        """
        work, groups, began = self._found(batch_id), self._rendezvous.groups, time.monotonic()
        layout = layout or (self._config.layout if block == self._whole else None)
        self._check_free(batch_id, work)
        self._check_block(work, block, layout)
        sent = move_batch(work.batch, groups, work.block, block, layout, self._device)
        work.block = block
        self._synchronise()
        if self._config.rank not in block:
            del self._work[batch_id]
        return MoveReport(time.monotonic() - began, sent)

    @torch.inference_mode()
    def pause(self, batch_id: str, path: str) -> bool:
        """Take a batch off the ranks of its block, which all call this: what its steps have changed stays in host
        memory, and in a file that the first rank writes and that outlives this process.

        Returns whether the file was written, as far as this rank knows: on a full disk it was not.

        Raises:
            EngineFault: no such batch, not this rank's, or a deterministic clip, which stays where it began.
        """
        work = self._mine(batch_id)
        self._check_free(batch_id, work)
        state = work.batch.state.on_host()
        del self._work[batch_id]
        if self._config.rank == work.block.first:
            try:
                write_state(Path(path), state)
            except OSError as error:
                logger.warning("paused batch %s not written: %s", batch_id, error)
                return False
        self._paused[batch_id] = state
        return True

    @torch.inference_mode()
    def resume(self, batch_id: str, jobs: tuple[ClipJob, ...], block: Block, path: str, next_step: int) -> None:
        """Go on with a paused batch at `next_step` on the ranks of `block`, which all call this; any block, also of
        another gang on this machine. Ranks that have its state in memory do without the file.

        Raises:
            EngineFault: the file does not hold that batch at that step.
            MediaError, ConfigError: as `begin`.
        """
        state, link = self._paused.pop(batch_id, None), self._rendezvous.groups.link(block)
        self.begin(batch_id, jobs, block)
        batch = self._work[batch_id].batch
        try:
            if state is None or batch.steps_of(state) != next_step:  # it went on elsewhere in between
                state = read_state(Path(path), batch.state_form)
            if batch.steps_of(state) != next_step:
                raise EngineFault(f"batch {batch_id} was paused after {batch.steps_of(state)} steps, not {next_step}")
            batch.go_on(link, self._config.layout if block == self._whole else None, state)
        except BaseException:
            del self._work[batch_id]
            raise

    def decode(self, batch_id: str, index: int) -> None:
        """Turn the latents of one finished clip into frames and sound, by its block together, whose first rank begins
        the file.

        Raises:
            EngineFault: no such batch or clip, not this rank's, or steps are missing.
        """
        work = self._mine(batch_id)
        decoding = self._pipeline.decoding(work.batch, index, self._rendezvous.groups.link(work.block))
        job, font = work.batch.prepared[index].job, self._config.marking_font
        # On all ranks, so that none waits for one that found it cannot be done.
        marks = marks_of(job.marking, job.task_id, decoding.delivery, font, self._invisible)
        if decoding.frames is not None:
            self._files.begin(batch_id, index, decoding, marks)
        decoding.run()
        self._synchronise()

    def mux(self, batch_id: str, index: int, attempt_name: str) -> MuxReport | None:
        """The first rank of a batch's block: wait for the file of a decoded clip, `attempt_name` in the scratch
        directory; None elsewhere.

        Raises:
            EngineFault: no such batch, the clip is not decoded, or the name is not a bare file name.
            av.error.FFmpegError, OSError: the file could not be written.
        """
        is_first = self._config.rank == self._found(batch_id).block.first
        return self._files.finish(batch_id, index, attempt_name) if is_first else None

    def latents(self, batch_id: str, index: int) -> tuple[Tensor, Tensor]:
        """A clip's latents as they are now: video float32 [48, T, h, w] and audio float32 [A, 64].

        Raises:
            EngineFault: no such batch or clip.
        """
        return self._found(batch_id).batch.latents(index)

    def end(self, batch_id: str) -> None:
        """Forget a batch in whatever state it is, or none of that name; the file of a pause is its caller's."""
        self._work.pop(batch_id, None)
        self._paused.pop(batch_id, None)
        self._files.forget(batch_id)

    @property
    def _whole(self) -> Block:
        return Block(0, self._config.world_size)

    def _link(self, block: Block) -> Link | None:
        """To the other ranks of a block. None: all of them, in the layout that is set. A rank that is about to join has
        nobody to reach yet."""
        if block == self._whole:
            return None
        groups = self._rendezvous.groups
        groups.check(block)
        return groups.link(block) if self._config.rank in block else GroupLink()

    def _check_free(self, batch_id: str, work: HostedBatch) -> None:
        if work.is_pinned:
            raise EngineFault(f"batch {batch_id} is deterministic and stays on ranks {work.block}; move another")

    def _check_block(self, work: HostedBatch, block: Block, layout: ParallelLayout | None = None) -> None:
        """Whether a batch can be on a block other than all ranks, or come back from one."""
        if self._config.video_only_ranks:
            raise ConfigError("ranks that hold video only keep no other experts, so clips stay on all ranks")
        self._rendezvous.groups.check(block)
        if layout is not None:
            layout.check(block.num_ranks, self._config.served.size)
        self._pipeline.check_room(work.batch, block.num_ranks, layout)

    def _mine(self, batch_id: str) -> HostedBatch:
        work = self._found(batch_id)
        if self._config.rank not in work.block:
            raise EngineFault(f"batch {batch_id} is on ranks {work.block}, not on rank {self._config.rank}")
        return work

    def _found(self, batch_id: str) -> HostedBatch:
        try:
            return self._work[batch_id]
        except KeyError:
            raise EngineFault(f"no batch {batch_id} on rank {self._config.rank}; begin it first") from None

    def _synchronise(self) -> None:
        """Wait for the device, so that measured seconds are true; between steps only."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
