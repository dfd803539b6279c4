"""A batch of clips on its way through the passes: the base, then super-resolution where the tier has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from engine.conditioning import Prepared
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.super_resolution import super_resolution_input
from engine.warm_shapes import WarmShapes
from hhray.errors import EngineFault
from hhray.geometry import ClipGeometry
from hhray.memory_parts import Stage
from hhray.served_model import Pass

DenoiserOf = Callable[[Stage], Denoiser]


class ClipBatch:
    """Clips of one shape. Steps are counted over all passes; a pass begins with its first step, not before, so that a
    transformer that has to be swapped in is asked for when it is needed."""

    def __init__(
        self,
        prepared: Sequence[Prepared],
        passes: tuple[Pass, ...],
        denoiser_of: DenoiserOf,
        shapes: WarmShapes | None = None,
    ) -> None:
        self.prepared, self.passes = tuple(prepared), passes
        self.next_step, self.num_steps = 0, sum(one.num_steps for one in passes)
        self._denoiser_of, self._shapes = denoiser_of, shapes or WarmShapes()
        self._pass = 0
        self._base_audios: list[Tensor] | None = None
        self._bytes_before = 0
        self._batch = self.denoiser.start([one.clip for one in prepared])

    @property
    def denoiser(self) -> Denoiser:
        """Of the pass that runs; asked for anew each time, since another batch may have swapped it out."""
        return self._denoiser_of(self.passes[self._pass].stage)

    @property
    def geometry(self) -> ClipGeometry:
        return self.prepared[0].job.geometry

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank has sent to others for the batch."""
        return self._bytes_before + self._batch.bytes_sent

    @property
    def known_tensors(self) -> list[Tensor]:
        """Weights and inputs of the pass that runs: what is no activation."""
        model = self.denoiser.model
        return [*model.parameters(), *model.buffers(), *self._batch.inputs]

    def step(self, index: int) -> None:
        """Take step `index` of all.

        Raises:
            EngineFault: it is not the next one.
        """
        if index != self.next_step or index >= self.num_steps:
            raise EngineFault(f"step {index} was asked for, but {self.next_step} of {self.num_steps} is next")
        if self._batch.next_step == self.passes[self._pass].num_steps:
            self._begin_super_resolution()
        if self._batch.next_step == 0:
            self._shapes.begin(self.passes[self._pass])
        self.denoiser.step(self._batch, self._batch.next_step)
        self.next_step += 1

    def latents(self, item: int) -> tuple[Tensor, Tensor]:
        """A clip's latents as they are now: video float32 [48, T, h, w]; audio float32 [A, 64], that of the base.

        Raises:
            EngineFault: no such clip.
        """
        if not 0 <= item < len(self.prepared):
            raise EngineFault(f"the batch has {len(self.prepared)} clips, no clip {item}")
        audios = self._batch.audios if self._base_audios is None else self._base_audios
        return self._batch.videos[item], audios[item]

    def _begin_super_resolution(self) -> None:
        base = self._batch
        self._bytes_before += base.bytes_sent
        self._base_audios = base.audios
        self._pass += 1
        clips = [self._enlarged(item, base) for item in range(len(self.prepared))]
        self._batch = self.denoiser.start(clips)

    def _enlarged(self, item: int, base: Batch) -> ClipInput:
        one, grid = self.prepared[item], self.passes[self._pass].grid
        clip, frame = one.clip, one.first_frames[self._pass]
        start = super_resolution_input(base.videos[item], base.audios[item], grid, clip.text, clip.draw, frame)
        return replace(start, conditions=clip.conditions)
