"""Denoises a batch of clips on one rank: network, exchange and sampler put together.

Every rank keeps the whole latents of the batch (they are small) and computes velocities for its slice of the stream;
the slices are gathered after each forward pass, and every rank takes the same solver step with the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from engine.attention import Kernel, attend_blocks
from engine.branch import Branch, split_branch
from engine.denoising_batch import Batch, ClipInput
from engine.exchange import GroupLink, Link
from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle
from engine.model.dit import AudioVideoTransformer
from engine.model.patch import patchify, unpatchify
from engine.model.stream import TokenStream
from engine.samplers.base import Sampler
from hhray.errors import EngineFault
from hhray.model_size import AUDIO_CHANNELS, VIDEO_CHANNELS
from hhray.parallel_layout import ParallelLayout

__all__ = ["Batch", "ClipInput", "Denoiser", "slice_inputs"]


class Denoiser:
    """One rank's part of the denoising; all ranks must make the same calls with the same inputs.

    The network says velocities v, or with `predicts_clean` the clean latents x - sigma v. Batches are split as `layout`
    says, or in the way that moves the fewest bytes; `kernel` computes attention.
    """

    def __init__(
        self,
        model: AudioVideoTransformer,
        sampler: Sampler,
        rank: int = 0,
        world_size: int = 1,
        style: CoordinateStyle = CoordinateStyle.V2,
        local: LocalRule | None = None,
        *,
        predicts_clean: bool = False,
        layout: ParallelLayout | None = None,
        kernel: Kernel = attend_blocks,
    ) -> None:
        self.model, self.sampler, self.style, self.local = model, sampler, style, local
        self.predicts_clean = predicts_clean
        self.rank, self.world_size = rank, world_size
        self.link, self.layout, self.kernel = GroupLink(rank, world_size), layout, kernel

    def start(
        self, clips: Sequence[ClipInput], link: Link | None = None, layout: ParallelLayout | None = None
    ) -> Batch:
        """Positions, and initial noise: audio first, then video, as the published weights' own pipeline draws.

        The ranks of `link` share it in `layout` or the cheapest; without a link all do, in the denoiser's own layout.

        Raises:
            EngineFault: the sampler guides, and a clip has no negative text.
            ConfigError: the layout does not fit the ranks or the heads.
        """
        link, layout = (self.link, self.layout) if link is None else (link, layout)
        branches = [self._branch(clips, [clip.text for clip in clips], link, layout)]
        if self.sampler.guidance(0) is not None:
            negatives = [clip.negative_text for clip in clips if clip.negative_text is not None]
            if len(negatives) < len(clips):
                raise EngineFault("this sampler guides away from a negative text, and a clip has none; give it one")
            branches.append(self._branch(clips, negatives, link, layout))
        solvers = tuple((self.sampler.solver(), self.sampler.solver()) for _ in clips)
        batch = Batch(tuple(replace(clip, video=None) for clip in clips), tuple(branches), solvers)  # it is used up
        for clip in clips:
            grid = clip.grid
            audio = clip.draw((clip.audio_latents, AUDIO_CHANNELS)) if clip.audio is None else clip.audio
            shape = (VIDEO_CHANNELS, grid.frames, grid.height, grid.width)
            batch.audios.append(audio)
            batch.videos.append(clip.draw(shape) if clip.video is None else clip.video.clone())
        self._hold(batch)
        return batch

    def resplit(self, batch: Batch, link: Link, layout: ParallelLayout | None = None) -> None:
        """Go on with `batch` on the ranks of `link`, in `layout` or the cheapest; between any two steps.

        All of them must do so alike, and have the batch at the same step: every rank of its last split has, with the
        whole latents and the solvers' state; to others it is given (Batch.resume). The clips stay the same.

        Raises:
            ConfigError: the layout does not fit the ranks or the heads.
        """
        branches = tuple(self._branch(batch.clips, branch.texts, link, layout) for branch in batch.branches)
        batch.bytes_sent_before, batch.branches = batch.bytes_sent, branches

    def step(self, batch: Batch, index: int) -> None:
        """Take denoising step `index`.

        Raises:
            EngineFault: it is not the batch's next step.
        """
        if index != batch.next_step or index >= self.sampler.num_steps:
            raise EngineFault(f"step {index} was asked for, but {batch.next_step} of {self.sampler.num_steps} is next")
        for item, (predicted, audio) in enumerate(self.velocities(batch)):
            clip, (video_solver, audio_solver) = batch.clips[item], batch.solvers[item]
            draw, video = clip.draw, predicted
            if clip.source is not None and index < clip.source_steps:
                video = (batch.videos[item] - clip.source) / self.sampler.sigmas[
                    index
                ]  # x0 = x - sigma v is the source
            batch.videos[item] = video_solver.step(index, batch.videos[item], video, draw)
            # held audio takes the step too, so that noise is drawn in the same order with and without it
            batch.audios[item] = audio_solver.step(index, batch.audios[item], audio, draw)
        self._hold(batch)
        batch.next_step += 1

    def velocities(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Each clip's velocities in the next step, guided or not: video [48, T, h, w], audio [A, 64], on every rank."""
        own = self._forward(batch, batch.branches[0])
        scales = self.sampler.guidance(batch.next_step)
        if scales is None:
            return own
        away = self._forward(batch, batch.branches[1])
        return [
            (_guided(video, from_video, scales[0]), _guided(audio, from_audio, scales[1]))
            for (video, audio), (from_video, from_audio) in zip(own, away, strict=True)
        ]

    def _forward(self, batch: Batch, branch: Branch) -> list[tuple[Tensor, Tensor]]:
        outputs = self.model(slice_inputs(batch, branch), branch.runs, branch.rotary, branch.exchange.attentions)
        flat = branch.exchange.gather(outputs, self.model.adapter.rope.bands.device)
        velocities, position, sigma = [], 0, self.sampler.sigmas[batch.next_step]
        for video, audio, clip in zip(batch.videos, batch.audios, batch.clips, strict=True):
            middle, end = position + video.numel(), position + video.numel() + audio.numel()
            tokens = flat[position:middle].view(clip.grid.num_tokens, -1)
            said = unpatchify(tokens, clip.grid), flat[middle:end].view(audio.shape)
            if self.predicts_clean:
                said = (video - said[0]) / sigma, (audio - said[1]) / sigma
            velocities.append(said)
            position = end
        return velocities

    def _branch(
        self, clips: Sequence[ClipInput], texts: Sequence[Tensor], link: Link, layout: ParallelLayout | None
    ) -> Branch:
        stream = TokenStream(tuple(clip.shape(text) for clip, text in zip(clips, texts, strict=True)))
        return split_branch(self.model, stream, texts, self.style, self.local, link, layout, self.kernel)

    @staticmethod
    def _hold(batch: Batch) -> None:
        """Write given values back over what a step made of them."""
        for item, clip in enumerate(batch.clips):
            if clip.first_frame is not None:
                batch.videos[item][:, :1] = clip.first_frame
            if clip.audio is not None:
                batch.audios[item] = clip.audio


def slice_inputs(batch: Batch, branch: Branch) -> list[Tensor]:
    """The rows of each run of this rank: video [n, 192], audio [n, 64], text [n, text channels]."""
    rows = [
        (patchify(video), audio, text, *(segment.payload for segment in clip.conditions))
        for video, audio, text, clip in zip(batch.videos, batch.audios, branch.texts, batch.clips, strict=True)
    ]
    return [rows[run.item][run.segment][run.rows] for run in branch.runs]


def _guided(velocity: Tensor, away: Tensor, scale: float) -> Tensor:
    return away + scale * (velocity - away)
