"""RankWorker: what one rank's process hosts. It turns jobs into files; the coordinator decides when.

A clip's way: `begin` (text, pictures, noise), `steps` until all denoising steps are made, `decode`, then `mux`; and
wherever it is, `end`. `mux` and `end` exchange nothing with other ranks and may be called from a second thread,
so that a clip's file is waited for beside the next one's steps. Arguments and results are plain values
(engine.messages); no tensor leaves the process. The model is that of `engine.pipeline.Pipeline`.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from engine.activation_meter import ActivationMeter
from engine.attention import attention_backends
from engine.batch_host import BatchHost
from engine.conditioning import MediaLimits
from engine.hardware import gpu_name
from engine.messages import ClipJob, LoadReport, MoveReport, MuxReport, StepReport, WorkerConfig
from engine.pipeline import Pipeline
from engine.rendezvous import BACKENDS, Rendezvous
from hhray.errors import ConfigError

__all__ = ["ClipJob", "LoadReport", "MoveReport", "MuxReport", "RankWorker", "StepReport", "WorkerConfig"]


class RankWorker(BatchHost):
    """One rank of a gang. Calls come one at a time: open_rendezvous (rank 0), join, load, then batches.

    Raises:
        ConfigError: the device does not exist here.
    """

    def __init__(self, config: WorkerConfig) -> None:
        if config.device not in BACKENDS or (config.device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"no device {config.device!r} on this machine; use one of: {', '.join(BACKENDS)}")
        self._config = config
        device = torch.device(config.device)
        rendezvous = Rendezvous(config.rank, config.world_size, device)
        pipeline = Pipeline(
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
        super().__init__(config, device, rendezvous, pipeline)
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
        least = self._pipeline.least_ranks
        seconds, gpu = time.monotonic() - began, gpu_name(self._device)
        return LoadReport(seconds, parameters, num_bytes, attention, arithmetic, least, gpu)

    def close(self) -> None:
        """Leave the group of ranks."""
        self._work.clear()
        self._paused.clear()
        self._files.close()
        self._rendezvous.close()
