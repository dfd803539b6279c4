"""From a job's prompt and files to what its first pass starts from.

What the checkpoint was trained for runs as trained: references and a source video become segments of the stream. Else
the documented fallback runs (model specification 7.1): the first reference is the first frame, and a source video is
noised part of the way. Sound to be kept or followed is held either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE, SoundEncoder, SourceVideoEncoder, TextEncoder
from engine.denoiser import ClipInput
from engine.messages import ClipJob
from engine.picture import load_picture, probe_picture
from engine.samplers.noise import NoiseSource
from engine.segments import Segment, reference_segments, source_segment
from engine.source_video import read_sound, read_video
from hhray.errors import MediaError
from hhray.geometry import PATCH, SPATIAL_STRIDE, ClipGeometry, LatentGrid, Size
from hhray.request import Mode
from hhray.served_model import Pass, ServedModel

EDIT_SHARE = 0.5  # of the steps follow the source video: from there, sigma 0.833, the prompt takes over
NEGATIVE_PROMPT = (
    "blurry, low resolution, noise, compression artefacts, flicker, ghosting, frozen picture, cuts, watermark, "
    "subtitles, deformed hands, extra limbs, distorted face, unnatural motion, overexposed, washed out colours; "
    "muffled sound, hiss, clicks, clipping, robotic voice, echo, silence, speech out of step with the lips"
)


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Bounds on a job's files: pixels of a picture; scratch space for what a video decodes to."""

    max_pixels: int
    scratch_dir: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job ready to start. `first_frames` has the first frame at each pass's size, `track` sound to deliver as it is
    (float32 [2, N], and its rate in Hz); None where there is none."""

    job: ClipJob
    clip: ClipInput
    first_frames: tuple[Tensor | None, ...]
    track: tuple[Tensor, int] | None = None


class Encoders(Protocol):
    """The components a job's inputs go through."""

    @property
    def text(self) -> TextEncoder: ...
    @property
    def video_encoder(self) -> SourceVideoEncoder: ...
    @property
    def sound(self) -> SoundEncoder: ...


class Conditioner:
    """Prepares jobs on one rank; every rank does the same and gets the same.

    With `reference_noise`, noise is drawn as the published pipeline draws it (engine.samplers.noise).
    """

    def __init__(
        self,
        encoders: Encoders,
        served: ServedModel,
        limits: MediaLimits,
        device: torch.device,
        reference_noise: bool = False,
    ) -> None:
        self._encoders, self._served, self._limits, self._device = encoders, served, limits, device
        self._reference_noise = reference_noise

    def prepare(self, job: ClipJob, passes: tuple[Pass, ...]) -> Prepared:
        """Text features, pictures, source video and sound of a job.

        Raises:
            MediaError: a file cannot be read.
        """
        geometry, mode = job.geometry, Mode(job.mode)
        trained = self._served.capabilities.trained_for(mode)
        text = self._encoders.text.encode(job.prompt).to(self._device)
        draw = NoiseSource(job.seed, self._device, self._reference_noise)
        clip = ClipInput(passes[0].grid, geometry.audio_latents, text, draw)
        if self._served.guided:
            clip = replace(clip, negative_text=self._negative)
        if job.sound_path:
            self._limits.scratch_dir.mkdir(parents=True, exist_ok=True)
            scratch = self._limits.scratch_dir
            sound, rate = read_sound(Path(job.sound_path), max_seconds=job.duration, scratch_dir=scratch)
            clip = replace(clip, audio=self._sound_latents(sound, rate, geometry, job.seed))
        track = None
        if job.video_path:
            clip, track = self._with_source(clip, job, trained, passes[0].num_steps)
        elif trained and mode is Mode.R2V:
            clip = replace(clip, conditions=self._references(job, clip))
        frames = self._first_frames(job, passes) if self._starts_with_picture(mode, trained) else (None,) * len(passes)
        return Prepared(job, replace(clip, first_frame=frames[0]), frames, track)

    @cached_property
    def _negative(self) -> Tensor:
        """Features of the negative prompt, the same for every clip."""
        return self._encoders.text.encode(NEGATIVE_PROMPT).to(self._device)

    @staticmethod
    def _starts_with_picture(mode: Mode, trained: bool) -> bool:
        return mode is Mode.I2V or (mode is Mode.R2V and not trained)

    def _first_frames(self, job: ClipJob, passes: tuple[Pass, ...]) -> tuple[Tensor, ...]:
        """The first picture at the size of every pass: it is encoded from pixels each time, not enlarged. It fills the
        part that is delivered, so that the clip begins with the picture as it is."""
        if not job.images:
            raise MediaError("InvalidParameter", f"{job.mode} needs a picture and got none")
        aspect = job.geometry.output.aspect
        return tuple(self._picture(job.images[0], _pixel_size(one.grid), aspect) for one in passes)

    def _picture(self, path: str, size: Size, aspect: float) -> Tensor:
        pixels = torch.from_numpy(load_picture(path, size, self._limits.max_pixels, aspect)).to(self._device)
        return self._encoders.video_encoder.encode(pixels).to(self._device)

    def _references(self, job: ClipJob, clip: ClipInput) -> tuple[Segment, ...]:
        """Each whole picture as a segment, its longer side that of the clip; the same latents serve every pass."""
        longer = max(clip.grid.height, clip.grid.width) * SPATIAL_STRIDE
        segments: list[Segment] = []
        for index, path in enumerate(job.images):
            own = probe_picture(path, self._limits.max_pixels)
            latent = self._picture(path, fitted(own, longer), own.aspect)
            segments += reference_segments(latent, index, clip.grid.frames, self._encoders.text)
        return tuple(segments)

    def _with_source(
        self, clip: ClipInput, job: ClipJob, trained: bool, num_steps: int
    ) -> tuple[ClipInput, tuple[Tensor, int] | None]:
        """The clip made from a source video, and the sound it keeps, if any."""
        geometry, scratch = job.geometry, self._limits.scratch_dir
        scratch.mkdir(parents=True, exist_ok=True)
        source = read_video(
            Path(job.video_path),
            size=_pixel_size(clip.grid),
            aspect=geometry.output.aspect,
            num_frames=clip.grid.decoded_frames,
            scratch_dir=scratch,
        )
        latent = self._encoders.video_encoder.encode_video(_pixels(source.frames).to(self._device)).to(self._device)
        if trained:
            conditions = (*self._references(job, clip), source_segment(latent))
            clip = replace(clip, conditions=conditions)
        else:
            clip = replace(clip, source=latent, source_steps=round(EDIT_SHARE * num_steps))
        if not job.keep_sound:
            return clip, None
        if source.sound is None:
            raise MediaError("InvalidParameter", "the video has no sound to keep; ask for new sound instead")
        held = self._sound_latents(source.sound, source.sound_rate, geometry, job.seed)
        return replace(clip, audio=held), (torch.from_numpy(source.sound), source.sound_rate)

    def _sound_latents(self, sound: NDArray[np.float32], rate: int, geometry: ClipGeometry, seed: int) -> Tensor:
        """float32 [A, 64]; silence follows a sound that is shorter than the clip."""
        needed = -(-geometry.audio_latents * SAMPLES_PER_LATENT * rate // SOUND_RATE) + 1
        padded = np.pad(sound[:, :needed], ((0, 0), (0, max(needed - sound.shape[1], 0))))
        generator = torch.Generator().manual_seed(seed)
        latents = self._encoders.sound.encode(torch.from_numpy(padded), rate, generator)
        return latents[:, : geometry.audio_latents].T.contiguous().to(self._device)


def fitted(size: Size, longer: int) -> Size:
    """A picture's size with its longer side at `longer` pixels, both sides whole tokens (multiples of 32 pixels)."""
    unit = SPATIAL_STRIDE * PATCH
    scale = longer / max(size.width, size.height)
    width, height = (max(1, round(side * scale / unit)) * unit for side in (size.width, size.height))
    return Size(width, height)


def _pixel_size(grid: LatentGrid) -> Size:
    return Size(grid.width * SPATIAL_STRIDE, grid.height * SPATIAL_STRIDE)


def _pixels(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 [F, H, W, 3] -> float32 [3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float().div_(127.5).sub_(1)
