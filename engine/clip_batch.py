"""A batch of clips on its way through the passes: the base, then super-resolution where the tier has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor

from engine.clip_state import ClipState, StateForm
from engine.conditioning import Prepared
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.exchange import Link
from engine.samplers.noise import NoiseSource
from engine.super_resolution import super_resolution_input
from engine.warm_shapes import WarmShapes
from hhray.errors import EngineFault
from hhray.geometry import ClipGeometry
from hhray.memory_parts import Stage
from hhray.model_size import AUDIO_CHANNELS, VIDEO_CHANNELS
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import Pass

DenoiserOf = Callable[[Stage], Denoiser]


class ClipBatch:
    """Clips of one shape. Steps are counted over all passes; a pass begins with its first step, not before, so that a
    transformer that has to be swapped in is asked for when it is needed.

    It begins on the ranks of `link`, in `layout` or the cheapest; without a link on all ranks of the gang. Between any
    two steps it may `go_on` on others, which begin it too and need its `state` unless they made the last step.
    """

    def __init__(
        self,
        prepared: Sequence[Prepared],
        passes: tuple[Pass, ...],
        denoiser_of: DenoiserOf,
        shapes: WarmShapes | None = None,
        link: Link | None = None,
        layout: ParallelLayout | None = None,
    ) -> None:
        self.prepared, self.passes = tuple(prepared), passes
        self.next_step, self.num_steps = 0, sum(one.num_steps for one in passes)
        self._denoiser_of, self._shapes = denoiser_of, shapes or WarmShapes()
        self._pass = 0
        self._base_audios: list[Tensor] | None = None
        self._bytes_before = 0
        self._link, self._layout = link, layout
        self._batch = self.denoiser.start([one.clip for one in prepared], link, layout)

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

    @property
    def stage_tokens(self) -> tuple[tuple[Stage, int], ...]:
        """The passes' stages and the tokens of their streams."""
        clips = [one.clip for one in self.prepared]
        texts = [max((text for text in (clip.text, clip.negative_text) if text is not None), key=len) for clip in clips]
        shapes = [clip.shape(text) for clip, text in zip(clips, texts, strict=True)]
        others = sum(shape.num_tokens - shape.grid.num_tokens for shape in shapes)
        return tuple((one.stage, others + len(clips) * one.grid.num_tokens) for one in self.passes)

    @property
    def state(self) -> ClipState:
        """All that the steps made until now have changed."""
        noise = tuple(source.state for source in self._sources)
        return ClipState(self._pass, self._batch.next_step, self._batch.latents, noise, tuple(self._base_audios or ()))

    @property
    def state_form(self) -> StateForm:
        """The sizes of a state, which every rank knows."""
        audios = [(one.clip.audio_latents, AUDIO_CHANNELS) for one in self.prepared]
        shapes = []
        for one in self.passes:
            video = (VIDEO_CHANNELS, one.grid.frames, one.grid.height, one.grid.width)
            shapes.append(tuple(shape for audio in audios for shape in (video, audio)))
        return StateForm(tuple(shapes), tuple(source.state.numel() for source in self._sources))

    def go_on(self, link: Link, layout: ParallelLayout | None, state: ClipState | None = None) -> None:
        """Share the next steps, also of the passes to come, with the ranks of `link`, in `layout` or the cheapest.

        `state` is that of a rank that made the last step, for one that did not.

        Raises:
            ConfigError: the layout does not fit the ranks or the heads.
        """
        self._link, self._layout = link, layout
        if state is None or state.pass_index == self._pass:
            self.denoiser.resplit(self._batch, link, layout)
        else:
            clips = [self._given(item, state) for item in range(len(self.prepared))]
            self._enter(state.pass_index, clips)
        if state is not None:
            device = self._batch.videos[0].device
            self._batch.resume([one.to(device) for one in state.latents], state.next_step)
            self._base_audios = [audio.to(device) for audio in state.base_audios] or None
            self.next_step = self.steps_of(state)
            for source, noise in zip(self._sources, state.noise, strict=True):
                source.state = noise

    def steps_of(self, state: ClipState) -> int:
        """Steps made until a state, over all passes."""
        return state.next_step + sum(one.num_steps for one in self.passes[: state.pass_index])

    @property
    def _sources(self) -> list[NoiseSource]:
        sources = [one.clip.draw for one in self.prepared]
        if not all(isinstance(source, NoiseSource) for source in sources):
            raise EngineFault("a clip's noise does not come from a NoiseSource, so it cannot go on on another rank")
        return cast(list[NoiseSource], sources)

    def _begin_super_resolution(self) -> None:
        base = self._batch
        self._base_audios = base.audios
        index = self._pass + 1
        self._enter(index, [self._enlarged(item, base, index) for item in range(len(self.prepared))])

    def _enter(self, pass_index: int, clips: Sequence[ClipInput]) -> None:
        self._bytes_before += self._batch.bytes_sent
        self._pass = pass_index
        self._batch = self.denoiser.start(clips, self._link, self._layout)

    def _enlarged(self, item: int, base: Batch, pass_index: int) -> ClipInput:
        one, grid = self.prepared[item], self.passes[pass_index].grid
        clip, frame = one.clip, one.first_frames[pass_index]
        start = super_resolution_input(base.videos[item], base.audios[item], grid, clip.text, clip.draw, frame)
        return replace(start, conditions=clip.conditions)

    def _given(self, item: int, state: ClipState) -> ClipInput:
        """The clip of a super-resolution pass that another rank began: its sound is held."""
        one, device = self.prepared[item], self._batch.videos[0].device
        video, audio = (latent.to(device) for latent in state.latents[2 * item : 2 * item + 2])
        grid, frame = self.passes[state.pass_index].grid, one.first_frames[state.pass_index]
        clip = one.clip
        given = ClipInput(grid, clip.audio_latents, clip.text, clip.draw, frame, audio.latent, video.latent)
        return replace(given, conditions=clip.conditions)
