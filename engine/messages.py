"""What crosses the border of a rank process: numbers and strings only, no tensors. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from hhray.geometry import FRAMES_PER_SECOND, MAX_DURATION, ClipGeometry, Ratio, Resolution
from hhray.marking import UNMARKED, Marking
from hhray.parallel_layout import ParallelLayout
from hhray.request import Mode
from hhray.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a rank runs. `checkpoint` is a folder of weights, empty for the random ones of the served preset; `tiers` and
    `max_seconds` bound what is asked of it; `layout` is how all ranks share a clip, None: in the way that moves the
    fewest bytes; with `video_only_ranks` those that hold video only keep no other experts; `max_pixels` bounds
    conditioning pictures; clips are written into `scratch_dir`. `precision` is what linears are in: bf16, fp8, int8,
    or auto; `attention_precision` is plain or int8. With `compiled` layers run compiled kernels, which are kept in
    `kernel_dir`, if that is named; the shapes of `warm_up` run once at load."""

    rank: int
    world_size: int
    served: ServedModel
    device: str
    threads: int
    scratch_dir: str
    checkpoint: str = ""
    tiers: tuple[Resolution, ...] = tuple(Resolution)
    max_seconds: int = MAX_DURATION
    decoder: str = "turbo"
    frames_per_second: int = 25
    sample_rate: int = 48_000
    reference_noise: bool = False
    layout: ParallelLayout | None = None
    video_only_ranks: bool = False
    max_pixels: int = 50_000_000
    precision: str = "auto"
    attention_precision: str = "plain"
    compiled: bool = False
    kernel_dir: str = ""
    warm_up: tuple[ClipGeometry, ...] = ()
    marking_font: str = ""
    invisible: str = ""


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One clip to make. Paths are those of local files the server wrote.

    `prompt` is what the model reads. `images` are the first frame (i2v) or the references (r2v, video-edit) in the
    client's order; `video_path` is the source of an edit, `sound_path` sound that drives the clip, empty where there is
    none. `keep_sound` holds the source video's sound and delivers its own track. `seconds` is the length delivered,
    at most `duration`; 0 means all of it. A `deterministic` clip gives the same latents, bit by bit, each time on the
    same machine: it runs alone, and stays on all ranks and in the layout it began in. `marking` is put on its file.
    """

    task_id: str
    prompt: str
    seed: int
    resolution: str
    ratio: str
    duration: int
    mode: str = Mode.T2V.value
    images: tuple[str, ...] = ()
    video_path: str = ""
    sound_path: str = ""
    keep_sound: bool = False
    seconds: float = 0.0
    deterministic: bool = False
    marking: Marking = UNMARKED

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(Resolution(self.resolution), Ratio(self.ratio), self.duration)

    @property
    def num_frames(self) -> int:
        """Frames delivered, 25 a second."""
        return round(FRAMES_PER_SECOND * (self.seconds or self.duration))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading took and what lies on the device now; `attention` says which kernels run for which shape,
    `arithmetic` what the transformers' linears compute in, `least_ranks` on how many ranks a clip must be for its
    memory, by `hhray.request.tier_key`, where one is too few; `gpu` is the GPU's own name, empty on a CPU."""

    seconds: float
    parameters: int
    weight_bytes: int
    attention: dict[str, str] = field(default_factory=dict)
    arithmetic: str = ""
    least_ranks: dict[str, int] = field(default_factory=dict)
    gpu: str = ""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One command of denoising steps on one rank.

    `bytes_exchanged` went to other ranks; `peak_activation_bytes` is the largest sum of activations alive at one time,
    measured on CUDA over these steps, on CPU in the batch's first step. `cold_shapes` counts passes whose shape no clip
    and no warm-up had run before.
    """

    first: int
    count: int
    seconds: float
    bytes_exchanged: int
    peak_activation_bytes: int
    cold_shapes: int = 0


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What moving a batch to another block took on one rank; `bytes_sent` went to ranks that lacked its state."""

    seconds: float
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class MuxReport:
    """A written clip. `notice` tells the client what is particular about it; empty when nothing is. `encoder` is
    FFmpeg's name of what encoded its video; `marks` are those put on it, as `Marking.written` names them."""

    path: str
    num_bytes: int
    num_frames: int
    num_samples: int
    width: int
    height: int
    notice: str
    encoder: str = "libx264"
    marks: tuple[str, ...] = ()
