"""Pipeline: a model from a folder of weights to clips, for those who embed it and for the ranks of a server.

    pipeline = Pipeline.from_pretrained("weights").to("cuda")
    clip = pipeline(prompt="a red ball bounces on the sand", duration=5, resolution="720P", on_step=print)
    clip.save("ball.mp4")

A rank calls the stages by itself: `begin`, then `ClipBatch.step` until all are made, then `decoding`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from engine.attention import attention_kernel
from engine.attention_warm_up import measure_served
from engine.call_arguments import Call, Picture, job_of
from engine.clip import Clip
from engine.clip_batch import ClipBatch
from engine.components import Components
from engine.conditioning import Conditioner, MediaLimits
from engine.decoding import ClipDecoding
from engine.delivery import Delivery
from engine.denoiser import Denoiser
from engine.exchange import GroupLink, Link
from engine.messages import ClipJob
from engine.offer import Offer
from engine.release import RANDOM_PRESETS, served_model, weights_folder
from engine.warm_shapes import WarmShapes
from engine.warm_up import compile_layers, run_shapes
from engine.weights import wanted_format
from hhray.blocks import block_sizes
from hhray.errors import EngineFault, InvalidParameter
from hhray.geometry import MAX_DURATION, ClipGeometry, Resolution
from hhray.memory_parts import Stage
from hhray.memory_plan import check_room
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import DEFAULT_LADDER, ServedModel

OnStep = Callable[[int, int], None]

MAX_PIXELS = 50_000_000


class Pipeline:
    """One model on one device, or one rank's share of it.

    `tiers` and `max_seconds` are what is to be made: the memory plan is for the largest of them. `frames_per_second`
    (25 or 24) and `sample_rate` (48000 or 44100 Hz) are those of the clips. Ranks share them in `layout`, or in the way
    that moves the fewest bytes; with `video_only_ranks`, those that hold video only have no other experts. `precision`
    is what the transformers' linears are kept in: bf16, fp8, int8, or auto: the best that fits; attention is plain, or
    with `attention_precision` int8 may round queries and keys (engine.attention.int8_backend). With `compiled` layers
    run compiled kernels, kept in `kernel_dir` for the next time if that is given; the shapes of the clips `warm_up` are
    run by `to`.
    """

    def __init__(
        self,
        served: ServedModel,
        folder: Path | None = None,
        *,
        tiers: Sequence[Resolution] = tuple(Resolution),
        max_seconds: int = MAX_DURATION,
        decoder: str = "turbo",
        frames_per_second: int = 25,
        sample_rate: int = 48_000,
        reference_noise: bool = False,
        limits: MediaLimits | None = None,
        layout: ParallelLayout | None = None,
        video_only_ranks: bool = False,
        precision: str = "auto",
        attention_precision: str = "plain",
        compiled: bool = False,
        kernel_dir: Path | None = None,
        warm_up: Sequence[ClipGeometry] = (),
    ) -> None:
        self.served, self.folder = served, folder
        self._offer, self._decoder = Offer(served, tuple(tiers), max_seconds), decoder
        self._frames_per_second, self._sample_rate = frames_per_second, sample_rate
        self._reference_noise, self._layout, self._video_only = reference_noise, layout, video_only_ranks
        self._limits = limits or MediaLimits(MAX_PIXELS, Path(tempfile.gettempdir()))
        self._precision, self._attention_precision = wanted_format(precision), attention_precision
        attention_kernel(attention_precision)  # a wrong word is told now
        self._compiled, self._kernel_dir, self._warm_up = compiled, kernel_dir, tuple(warm_up)
        self.shapes = WarmShapes()
        self._rank, self._world_size = 0, 1
        self._components: Components | None = None
        self._conditioner: Conditioner | None = None
        self._offer.check_warm_up(self._warm_up)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        base: str = "auto",
        decoder: str = "turbo",
        ladder: Mapping[Resolution, str] | None = None,
        **options: Any,  # noqa: ANN401 - those of the constructor
    ) -> Self:
        """The model of a folder that `hhray fetch-weights` made; only file headers are read until `to`.

        Args:
            folder: the weights, or "embedded" for those of the package, or a preset with random weights (tiny, pico).
            base: "distill" (8 steps) or "base" weights (32 guided steps); "auto": the former where they are.
            decoder: "turbo", or "wan": slower, finer.
            ladder: super-resolution weights of each tier, as the setting `engine.super_resolution`.
            options: as the constructor's.

        Raises:
            ConfigError: the folder is no release, or lacks a part.
        """
        random = str(folder) in RANDOM_PRESETS and not Path(folder).exists()
        path = None if random else weights_folder(folder, "")
        served = served_model(path, str(folder), ladder or DEFAULT_LADDER, base, decoder)
        return cls(served, path, decoder=decoder, **options)

    @torch.inference_mode()
    def to(self, device: str | torch.device, rank: int = 0, world_size: int = 1) -> Self:
        """Plan the memory of the device, load what is resident, make one tiny forward pass, and on a GPU choose
        the attention kernels.

        Ranks of a group do so at the same time.

        Raises:
            ConfigError: it does not fit (the message names the smallest change that would), or files are damaged.
        """
        self._rank, self._world_size = rank, world_size
        components = Components(
            self.served,
            self.folder,
            torch.device(device),
            ranks=world_size,
            tiers=self._offer.tiers,
            max_seconds=self._offer.max_seconds,
            decoder=self._decoder,
            layout=self._layout,
            video_only=self._video_only,
            precision=self._precision,
            attention_precision=self._attention_precision,
        )
        components.load(rank)
        self._components = components
        noise = self._reference_noise
        self._conditioner = Conditioner(components, self.served, self._limits, components.device, noise)
        cache = compile_layers(components, self._kernel_dir, self._warm_up) if self._compiled else None
        run_shapes(components, self._denoiser, self._warm_up, self.shapes)
        if cache:
            cache.seal()
        if components.device.type == "cuda":
            for ranks in block_sizes(world_size):  # a clip may go to a smaller block
                where, int8 = (rank % ranks, ranks, components.device), self._attention_precision == "int8"
                measure_served(self.served, self._offer.tiers, self._offer.max_seconds, *where, int8=int8)
        return self

    def __call__(
        self,
        prompt: str = "",
        *,
        image: Picture | None = None,
        references: Sequence[Picture] = (),
        video: str | Path | None = None,
        sound: str | Path | None = None,
        keep_sound: bool = False,
        duration: int = 5,
        resolution: str = Resolution.P256,
        ratio: str | None = None,
        seed: int = 42,
        language: str | None = None,
        dialogue: str = "",
        on_step: OnStep | None = None,
    ) -> Clip:
        """Make one clip.

        Args:
            image: first frame; excludes `references` and `video`.
            references: up to 9 pictures, `[Image 1]` .. in the prompt; with `video`, up to 5.
            video: what is to be edited; `keep_sound` delivers its sound with the new pictures.
            sound: drives the clip: voices and noises to move to.
            duration: 3 to 15 seconds; an edited video keeps its own length, the first 15 seconds of it.
            ratio: None takes that of the picture or video, else 16:9.
            language, dialogue: what is spoken, in one of hhray.request.Language.
            on_step: called with the steps made and the steps in all, after each.

        Raises:
            InvalidParameter, MediaError: an argument or a file does not fit.
            EngineFault: `to` was not called.
        """
        call = Call(
            prompt,
            image,
            tuple(references),
            video,
            sound,
            keep_sound,
            duration,
            resolution,
            ratio,
            seed,
            language,
            dialogue,
        )
        with job_of(call, self._limits.max_pixels) as job:
            batch = self.begin([job])
        while batch.next_step < batch.num_steps:
            self.step(batch)
            if on_step:
                on_step(batch.next_step, batch.num_steps)
        return self.decode(batch, 0)

    @torch.inference_mode()
    def begin(self, jobs: Sequence[ClipJob], link: Link | None = None) -> ClipBatch:
        """Text features, pictures, positions and initial noise of a batch of clips of one shape.

        The ranks of `link` will make it in the way that moves the fewest bytes; without a link all do, in the
        pipeline's layout.

        Raises:
            MediaError: a file cannot be read.
            InvalidParameter: a clip is larger than what the memory was planned for, or deterministic and not alone.
            EngineFault: no jobs, or jobs of different shapes.
        """
        if len({(job.geometry, job.mode, len(job.images)) for job in jobs}) != 1:
            raise EngineFault(f"a batch needs one or more clips of one shape, got {len(jobs)} of several or none")
        if len(jobs) > 1 and any(job.deterministic for job in jobs):
            raise InvalidParameter(f"a deterministic clip runs alone, and {len(jobs)} clips were packed into one batch")
        for job in jobs:
            self._offer.check(job)
        conditioner = self._conditioned
        passes = self.served.passes(jobs[0].geometry)
        prepared = [conditioner.prepare(job, passes) for job in jobs]
        return ClipBatch(prepared, passes, self._denoiser, self.shapes, link)

    @torch.inference_mode()
    def step(self, batch: ClipBatch) -> None:
        """Make the batch's next step."""
        batch.step(batch.next_step)

    def decode(self, batch: ClipBatch, item: int) -> Clip:
        """Frames and sound of one finished clip, by this rank alone.

        Raises:
            EngineFault: no such clip, or steps are missing.
        """
        decoding = self.decoding(batch, item, GroupLink(), rgb=True)
        decoding.run()
        return decoding.clip()

    def decoding(self, batch: ClipBatch, item: int, link: Link, rgb: bool = False) -> ClipDecoding:
        """What decodes one finished clip by the ranks that `link` connects: each makes one and runs it.

        Raises:
            EngineFault: no such clip, or steps are missing.
        """
        latents = batch.latents(item)
        if batch.next_step != batch.num_steps:
            raise EngineFault(f"the batch is not denoised yet: {batch.next_step} steps were made of {batch.num_steps}")
        one = batch.prepared[item]
        size, rates = one.job.geometry.output, (self._frames_per_second, self._sample_rate)
        delivery = Delivery(size, one.job.num_frames, *rates)
        return ClipDecoding(latents, one.track, delivery, self._offer.notice(one.job), self._loaded, link, rgb)

    def notice(self, job: ClipJob) -> str:
        """What is particular about a job's clip: a fallback, or a tier without super-resolution; empty if nothing."""
        return self._offer.notice(job)

    def check_room(self, batch: ClipBatch, num_ranks: int, layout: ParallelLayout | None = None) -> None:
        """Whether `num_ranks` ranks have the memory to share a batch, as planned.

        Raises:
            ConfigError: they have not.
        """
        for stage, num_tokens in batch.stage_tokens:
            check_room(self._loaded.plan, self.served.size, stage, num_tokens, num_ranks, layout)

    @property
    def least_ranks(self) -> dict[str, int]:
        """On how many ranks a clip must be for its memory, by tier and length, where one is too few: the ratio with the
        most tokens decides. Ranks that hold video only share every clip with all others."""
        return self._offer.least_ranks(self._loaded.plan, self._world_size, self._video_only)

    def weights_on_device(self) -> tuple[int, int]:
        """Parameters of the base transformer and their bytes."""
        weights = list(self._denoiser(Stage.BASE).model.parameters())
        return sum(one.numel() for one in weights), sum(one.numel() * one.element_size() for one in weights)

    @property
    def arithmetic(self) -> str:
        """What the transformers' linears compute in, and where it is not what it could be, why."""
        return self._loaded.arithmetic

    def _denoiser(self, stage: Stage) -> Denoiser:
        return self._loaded.denoiser(stage, self._rank, self._world_size)

    @property
    def _conditioned(self) -> Conditioner:
        if self._conditioner is None:
            raise EngineFault("the model is not loaded; call to(device) first")
        return self._conditioner

    @property
    def _loaded(self) -> Components:
        if self._components is None:
            raise EngineFault("the model is not loaded; call to(device) first")
        return self._components
