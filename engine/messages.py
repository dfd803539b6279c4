"""What crosses the border of a rank process: numbers and strings only, no tensors. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.geometry import ClipGeometry, Ratio, Resolution


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a rank runs. `max_pixels` bounds conditioning pictures; clips are written into `scratch_dir`."""

    rank: int
    world_size: int
    preset: str
    device: str
    threads: int
    sample_rate: int
    scratch_dir: str
    max_pixels: int


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One clip to make. `image_path` is a local file the server wrote; empty for text-to-video."""

    task_id: str
    prompt: str
    seed: int
    resolution: str
    ratio: str
    duration: int
    image_path: str = ""

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(Resolution(self.resolution), Ratio(self.ratio), self.duration)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading took and what lies on the device now."""

    seconds: float
    parameters: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """One command of denoising steps on one rank.

    `bytes_exchanged` went to other ranks; `peak_activation_bytes` is the largest sum of activations alive at one time,
    measured on CUDA over these steps, on CPU in the batch's first step.
    """

    first: int
    count: int
    seconds: float
    bytes_exchanged: int
    peak_activation_bytes: int


@dataclass(frozen=True, slots=True)
class MuxReport:
    """A written clip. `notice` tells the client what is particular about it; empty when nothing is."""

    path: str
    num_bytes: int
    num_frames: int
    num_samples: int
    width: int
    height: int
    notice: str
