"""RankWorker: what one rank's process hosts. It turns jobs into files; the coordinator decides when.

A clip's way: `begin` (text, picture, noise), `steps` until all denoising steps are made, `decode` and `mux` on rank 0.
All ranks get the same calls in the same order, because steps exchange data between them. Arguments and results are
plain values (engine.messages); no tensor leaves the process.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from engine.activation_meter import ActivationMeter, reset_cuda_peak
from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.base import AudioCodec, TextEncoder, VideoCodec
from engine.codecs.bytewise import BytewiseTextEncoder
from engine.denoiser import Batch, ClipInput, Denoiser
from engine.messages import ClipJob, LoadReport, MuxReport, StepReport, WorkerConfig
from engine.mux import write_clip
from engine.picture import load_picture
from engine.rendezvous import BACKENDS, Rendezvous
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource
from engine.weights import build_model
from hhray.errors import ConfigError, EngineFault
from hhray.geometry import ClipGeometry, LatentGrid, Resolution
from hhray.model_size import preset

__all__ = ["ClipJob", "LoadReport", "MuxReport", "RankWorker", "StepReport", "WorkerConfig"]

BARE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
WARM_UP_GRID = LatentGrid(2, 4, 4)


@dataclass(slots=True)
class _Work:
    """A batch in this process.

    `pictures` holds decoded frames and sound of rank 0's clips until they are muxed; `peak_bytes` is the last
    measurement of its activations.
    """

    geometry: ClipGeometry
    batch: Batch
    pictures: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    peak_bytes: int = 0


class RankWorker:
    """One rank of a gang. Calls come one at a time: open_rendezvous (rank 0), join, load, then batches.

    Raises:
        ConfigError: the device or the preset does not exist here.
    """

    def __init__(self, config: WorkerConfig) -> None:
        if config.device not in BACKENDS or (config.device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"no device {config.device!r} on this machine; use one of: {', '.join(BACKENDS)}")
        self._config = config
        self._size = preset(config.preset)
        self._device = torch.device(config.device)
        self._rendezvous = Rendezvous(config.rank, config.world_size, self._device)
        self._denoiser: Denoiser | None = None
        self._video: VideoCodec = AveragingVideoCodec()
        self._audio: AudioCodec = AdditiveAudioCodec()
        self._text: TextEncoder = BytewiseTextEncoder(self._size.text_channels)
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

    @torch.inference_mode()
    def load(self) -> LoadReport:
        """Build the network on the device and make one tiny forward pass; all ranks at the same time.

        Raises:
            ConfigError: the preset has no weights, or does not fit the number of ranks.
        """
        began = time.monotonic()
        model = build_model(self._size, self._device)
        config = self._config
        self._denoiser = Denoiser(model, DistilledSampler(), config.rank, config.world_size)
        text = self._text.encode("").to(self._device)
        clip = ClipInput(WARM_UP_GRID, WARM_UP_GRID.decoded_frames, text, NoiseSource(0, self._device))
        with ActivationMeter([]):  # its first use takes a second of imports
            self._denoiser.velocities(self._denoiser.start([clip]))
        self._synchronise()
        weights = list(model.parameters())
        num_bytes = sum(weight.numel() * weight.element_size() for weight in weights)
        return LoadReport(time.monotonic() - began, sum(weight.numel() for weight in weights), num_bytes)

    @torch.inference_mode()
    def begin(self, batch_id: str, jobs: tuple[ClipJob, ...]) -> None:
        """Text features, picture latents, positions and initial noise of a batch of clips of one shape.

        Raises:
            MediaError: a picture cannot be read.
            EngineFault: no jobs, jobs of different shapes, or a batch of this name exists.
        """
        if batch_id in self._work:
            raise EngineFault(f"batch {batch_id} exists already; end it first")
        if len({(job.geometry, bool(job.image_path)) for job in jobs}) != 1:
            raise EngineFault(
                f"batch {batch_id} needs one or more clips of one shape, got {len(jobs)} of several or none"
            )
        clips = [self._clip_input(job) for job in jobs]
        self._work[batch_id] = _Work(jobs[0].geometry, self._loaded().start(clips))

    @torch.inference_mode()
    def steps(self, batch_id: str, first: int, count: int) -> StepReport:
        """Make denoising steps `first` .. `first + count - 1`.

        Raises:
            EngineFault: no such batch, or `first` is not its next step.
        """
        work, denoiser = self._found(batch_id), self._loaded()
        batch, on_cuda = work.batch, self._device.type == "cuda"
        began, sent = time.monotonic(), batch.bytes_sent
        base = reset_cuda_peak(self._device) if on_cuda else 0
        for index in range(first, first + count):
            if index == 0 and not on_cuda:
                work.peak_bytes = self._measured_step(batch, index)
            else:
                denoiser.step(batch, index)
        self._synchronise()
        if on_cuda:
            work.peak_bytes = torch.cuda.max_memory_allocated(self._device) - base
        seconds, sent = time.monotonic() - began, batch.bytes_sent - sent
        return StepReport(first, count, seconds, sent, work.peak_bytes)

    @torch.inference_mode()
    def decode(self, batch_id: str, index: int) -> None:
        """Rank 0: turn the latents of one finished clip into frames and sound, kept here until `mux` or `end`.

        Raises:
            EngineFault: no such batch or clip, or steps are missing.
        """
        work = self._found(batch_id)
        video, audio = self.latents(batch_id, index)
        if work.batch.next_step != self._loaded().sampler.num_steps:
            raise EngineFault(f"batch {batch_id} is not denoised yet: {work.batch.next_step} steps were made")
        if self._config.rank == 0:
            work.pictures[index] = self._video.decode(video), self._audio.decode(audio.T)

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
        if index not in work.pictures:
            raise EngineFault(f"clip {index} of batch {batch_id} is not decoded")
        scratch, geometry = Path(self._config.scratch_dir), work.geometry
        scratch.mkdir(parents=True, exist_ok=True)
        frames, sound = work.pictures.pop(index)
        path, config = scratch / attempt_name, self._config
        threads = config.threads * config.world_size  # the other ranks wait for this one
        num_samples = write_clip(path, frames, sound, geometry, config.sample_rate, threads)
        size, num_bytes = geometry.output, path.stat().st_size
        notice = self._notice(geometry)
        return MuxReport(str(path), num_bytes, geometry.num_frames, num_samples, size.width, size.height, notice)

    def latents(self, batch_id: str, index: int) -> tuple[Tensor, Tensor]:
        """A clip's latents as they are now: video float32 [48, T, h, w] and audio float32 [A, 64].

        Raises:
            EngineFault: no such batch or clip.
        """
        batch = self._found(batch_id).batch
        if not 0 <= index < len(batch.videos):
            raise EngineFault(f"batch {batch_id} has {len(batch.videos)} clips, no clip {index}")
        return batch.videos[index], batch.audios[index]

    def end(self, batch_id: str) -> None:
        """Forget a batch in whatever state it is, or none of that name."""
        self._work.pop(batch_id, None)

    def close(self) -> None:
        """Leave the group of ranks."""
        self._work.clear()
        self._rendezvous.close()

    def _clip_input(self, job: ClipJob) -> ClipInput:
        geometry, first_frame = job.geometry, None
        if job.image_path:
            picture = load_picture(job.image_path, geometry.base, self._config.max_pixels)
            first_frame = self._video.encode(torch.from_numpy(picture).to(self._device))
        text, noise = self._text.encode(job.prompt).to(self._device), NoiseSource(job.seed, self._device)
        return ClipInput(geometry.base_grid, geometry.audio_latents, text, noise, first_frame)

    def _measured_step(self, batch: Batch, index: int) -> int:
        """Make a step and return the most bytes its activations took at one time."""
        with ActivationMeter([*self._loaded().model.state_dict().values(), *batch.inputs]) as meter:
            self._loaded().step(batch, index)
        return int(meter.peak_bytes)

    def _notice(self, geometry: ClipGeometry) -> str:
        if geometry.resolution is Resolution.P256:
            return ""
        return (
            f"Denoised at {geometry.base} and enlarged to {geometry.output} after decode: "
            f"the {self._size.name} model has no super-resolution stage."
        )

    def _loaded(self) -> Denoiser:
        if self._denoiser is None:
            raise EngineFault("the model is not loaded; call load first")
        return self._denoiser

    def _found(self, batch_id: str) -> _Work:
        try:
            return self._work[batch_id]
        except KeyError:
            raise EngineFault(f"no batch {batch_id} on rank {self._config.rank}; begin it first") from None

    def _synchronise(self) -> None:
        """Wait for the device, so that measured seconds are true; between steps only."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
