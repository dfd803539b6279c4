"""What denoising starts from, and a batch on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from engine.branch import Branch
from engine.clip_state import LatentState
from engine.model.stream import ItemShape
from engine.samplers.base import Draw, Solver
from engine.segments import Segment
from hhray.geometry import LatentGrid


@dataclass(frozen=True, slots=True)
class ClipInput:
    """What one clip is made from, on the compute device. All tensors are float32.

    `text` is [X, text channels]; `draw` gives the clip's own noise. Given values, if any: `first_frame`, [48, 1, h, w],
    is held as latent frame 0; `audio`, [A, 64], is held throughout; `video`, [48, T, h, w], is started from in place of
    noise. `negative_text`, [X', text channels], is what guidance leads away from; `conditions` are read along.

    `source`, [48, T, h, w], takes the place of what the network predicts in the first `source_steps` steps: the clip
    then goes on from that video, noised to the level of that step, with sound made from the start.
    """

    grid: LatentGrid
    audio_latents: int
    text: Tensor
    draw: Draw
    first_frame: Tensor | None = None
    audio: Tensor | None = None
    video: Tensor | None = None
    negative_text: Tensor | None = None
    conditions: tuple[Segment, ...] = ()
    source: Tensor | None = None
    source_steps: int = 0

    def shape(self, text: Tensor) -> ItemShape:
        """The clip's sizes in a stream with these text features."""
        return ItemShape(self.grid, self.audio_latents, len(text), tuple(segment.shape for segment in self.conditions))


@dataclass(slots=True)
class Batch:
    """A batch on its way: whole latents of every clip, their solvers, its forward passes, and the next step.

    `branches` has one entry, or with guidance two: the clips' own texts, then the negative ones.
    """

    clips: tuple[ClipInput, ...]
    branches: tuple[Branch, ...]
    solvers: tuple[tuple[Solver, Solver], ...]  # of video and audio
    videos: list[Tensor] = field(default_factory=list)  # float32 [48, T, h, w]
    audios: list[Tensor] = field(default_factory=list)  # float32 [A, 64]
    next_step: int = 0
    bytes_sent_before: int = 0  # in splits that are no more

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank has sent to others for the batch."""
        return self.bytes_sent_before + sum(branch.exchange.bytes_sent for branch in self.branches)

    @property
    def latents(self) -> tuple[LatentState, ...]:
        """Video and audio of each clip in turn, with what their solvers remember."""
        return tuple(
            LatentState(latent, solver.remembered())
            for video, audio, solvers in zip(self.videos, self.audios, self.solvers, strict=True)
            for latent, solver in zip((video, audio), solvers, strict=True)
        )

    def resume(self, latents: Sequence[LatentState], next_step: int) -> None:
        """Go on at `next_step` from these: what `latents` was on a rank that made the steps before."""
        self.videos[:] = [one.latent for one in latents[::2]]
        self.audios[:] = [one.latent for one in latents[1::2]]
        for one, solver in zip(latents, (solver for pair in self.solvers for solver in pair), strict=True):
            solver.resume(one.solver)
        self.next_step = next_step

    @property
    def inputs(self) -> list[Tensor]:
        """Tensors that exist before a step and are no activations of it."""
        fixed = [tensor for branch in self.branches for tensor in (*branch.texts, *branch.rotary)]
        fixed += [segment.payload for clip in self.clips for segment in clip.conditions]
        return [*fixed, *self.videos, *self.audios]
