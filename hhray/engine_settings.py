"""Settings of engines: what they run, on which ranks, how fast it is thought to be."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from hhray.geometry import MAX_DURATION, MIN_DURATION, ClipGeometry, Ratio, Resolution
from hhray.model_size import EMBEDDED
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import DEFAULT_LADDER
from hhray.settings_group import SettingsGroup


class LayoutSettings(SettingsGroup):
    """How the ranks of an engine share one clip: their number is the product of the two degrees."""

    ulysses: int = Field(
        default=0,
        ge=0,
        description="Ranks of a group that splits attention by heads; 0: in each layer what moves the fewest bytes.",
    )
    gather: int = Field(default=1, ge=1, description="Such groups, which fetch keys and values from each other.")
    halo: bool = Field(
        default=True, description="In layers that see near frames only, fetch these only, not the keys of all frames."
    )


class WarmUpShape(SettingsGroup):
    """A clip whose shapes are run once while an engine loads."""

    resolution: Resolution = Field(description="Tier, such as 720P.")
    ratio: Ratio = Field(default=Ratio.R16_9, description="Picture ratio, in quotes: YAML reads a bare 16:9 as 969.")
    duration: int = Field(default=5, ge=MIN_DURATION, le=MAX_DURATION, description="Length in seconds.")

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(self.resolution, self.ratio, self.duration)


class CostSettings(SettingsGroup):
    """What a rank spends beside its matrix products, as `hhray fit-costs` finds it; none: the default of the device.

    A constant that `fit-costs` leaves out may be set to 0 (seconds), so that nothing is counted for it.
    """

    attention_flops_per_second: float | None = Field(
        default=None, ge=0, description="Reached in attention; 0: as in the products."
    )
    memory_bytes_per_second: float | None = Field(default=None, gt=0, description="At which weights are read.")
    layer_seconds: float | None = Field(default=None, ge=0, description="Of every layer, whatever its tokens.")
    forward_seconds: float | None = Field(default=None, ge=0, description="Of every forward pass.")
    item_seconds: float | None = Field(default=None, ge=0, description="Of every clip of a batch, every forward pass.")
    exchange_seconds: float | None = Field(default=None, ge=0, description="Of every collective, beside its bytes.")
    link_bytes_per_second: float | None = Field(default=None, gt=0, description="That a rank sends to the others.")
    decoded_pixels_per_second: float | None = Field(default=None, gt=0, description="Decoded, at the size that ran.")
    decode_seconds: float | None = Field(default=None, ge=0, description="Of every decode, beside its pixels.")


class EngineSettings(SettingsGroup):
    """The gang of one engine replica."""

    preset: str = Field(
        default=EMBEDDED,
        description="Model without a checkpoint: embedded, the small trained one of this package; or random weights: "
        "tiny, or pico for tests.",
    )
    checkpoint: str = Field(
        default="",
        description="Folder of weights that `hhray fetch-weights` made, or embedded for those of this package; empty: "
        "the preset.",
    )
    base: str = Field(
        default="auto",
        pattern="^(auto|distill|base)$",
        description="Base weights: distill (8 steps), base (32 guided steps), or auto: distill where it is there.",
    )
    precision: Literal["auto", "bf16", "fp8", "int8"] = Field(
        default="auto",
        description="What the transformer's linears are kept in: bf16, fp8 (multiplied as they are where the device "
        "can), int8, or auto: the best that fits the GPU.",
    )
    attention_precision: Literal["plain", "int8"] = Field(
        default="plain",
        description="Attention: plain, or int8: queries and keys may be rounded to 8 bits (on GPUs by the package "
        "sageattention, where it is right and fastest; on a CPU by plain arithmetic, which is slower).",
    )
    super_resolution: dict[Resolution, str] = Field(
        default_factory=lambda: dict(DEFAULT_LADDER),
        description="Super-resolution weights of each tier; a tier without is enlarged after decode.",
    )
    tiers: tuple[Resolution, ...] = Field(
        default=tuple(Resolution), min_length=1, description="Resolutions offered; the memory plan is for the largest."
    )
    max_seconds: int = Field(
        default=MAX_DURATION, ge=MIN_DURATION, le=MAX_DURATION, description="Longest clip offered, in seconds."
    )
    decoder: str = Field(
        default="turbo",
        pattern="^(turbo|wan)$",
        description="Video decoder of a checkpoint: turbo, or wan: slower, finer.",
    )
    frames_per_second: Literal[24, 25] = Field(
        default=25, description="Frame rate of clips. 24 leaves out one frame of every second and keeps sound in step."
    )
    prompt_rewriter: str = Field(
        default="",
        description="package.module:function that lengthens prompts before the model reads them; empty: none. "
        "It runs with the server's rights.",
    )
    reference_noise: bool = Field(
        default=False,
        description="Draw noise on the compute device as the published pipeline does; else a seed means the same "
        "noise on every device.",
    )
    ranks: int = Field(
        default=2, ge=1, le=8, description="Ranks per engine (W): GPUs of one NVLink island, or CPU ranks."
    )
    layout: LayoutSettings = Field(default=LayoutSettings(), description="How the ranks share one clip.")
    video_only_ranks: bool = Field(
        default=False,
        description="Ranks that hold video tokens only of every clip offered keep no audio and text experts; clips "
        "then run one at a time on all ranks.",
    )
    replicas: int = Field(default=1, ge=0, description="Engine replicas, unless autoscaling has other bounds.")
    device: str = Field(default="cpu", pattern="^(cpu|cuda)$", description="Where ranks compute.")
    threads_per_rank: int = Field(default=0, ge=0, description="CPU threads of a rank; 0: cores / ranks, at least 1.")
    max_batch: int = Field(default=4, ge=1, description="Most clips packed into one batch.")
    max_batch_tokens: int = Field(
        default=8192, ge=1, description="Most tokens of a packed batch; a clip above runs alone."
    )
    compiled: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compile what stands between a layer's matrix products: auto: on GPUs, where that takes a minute "
        "of the first start; on: on CPUs too, which need a C++ compiler. Where it fails, the log says why.",
    )
    kernel_dir: str = Field(
        default="",
        description="Folder of compiled kernels, kept between starts; empty: <data_dir>/kernels. What lies there is "
        "run as code: it must be a directory of the server's user with mode 0700, and is made so.",
    )
    warm_up: tuple[WarmUpShape, ...] = Field(
        default=(),
        description="Clips whose shapes are run once while an engine loads, so that the first client does not wait.",
    )
    command_seconds: float = Field(default=0.25, gt=0, description="Longest run of short steps in one command.")
    watchdog_multiple: float = Field(
        default=20.0, gt=1, description="A phase is aborted after this multiple of its prediction."
    )
    watchdog_floor_seconds: float = Field(default=120.0, gt=0, description="No phase is aborted earlier than this.")
    join_timeout_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Longest start of a gang: processes and rendezvous; and a second more for every 100 MB of weights.",
    )
    publish_patience_seconds: float = Field(
        default=600.0,
        ge=0,
        description="A finished clip waits so long for a task store that does not answer; its lease is asked for again "
        "all the while.",
    )
    artifact_patience_seconds: float = Field(
        default=60.0,
        ge=0,
        description="A finished clip waits so long for an artifact store that takes no file, then its task goes back "
        "to the queue without blame.",
    )
    storage_pause_seconds: float = Field(
        default=5.0,
        gt=0,
        description="An engine whose clip could not be stored takes no work for so long, and twice as long each time "
        "it happens again.",
    )
    quarantine_strikes: int = Field(
        default=2,
        ge=0,
        description="An engine whose rank or GPU failed so often within the window takes no work while another engine "
        "lives, and is reported; 0: never.",
    )
    quarantine_window_seconds: float = Field(default=3600.0, gt=0, description="Window in which faults are counted.")
    cpus_per_rank: float = Field(default=0.1, gt=0, description="Logical Ray CPUs a rank reserves.")
    gpus_per_rank: float | None = Field(
        default=None, ge=0, description="Logical Ray GPUs a rank reserves; empty: 1 where it computes on one, else 0."
    )
    sample_rate: Literal[48000, 44100] = Field(default=48000, description="Audio sample rate of clips in Hz.")
    flops_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Cost model: what one rank reaches in matrix products; 0: the default of the device.",
    )
    pixels_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Cost model: delivered pixels enlarged and encoded per second; 0: the default of the device.",
    )
    costs: CostSettings = Field(default=CostSettings(), description="Cost model: what else a rank spends.")

    @model_validator(mode="after")
    def _ranks_fit(self) -> Self:
        if self.layout.ulysses and self.layout.ulysses * self.layout.gather != self.ranks:
            raise ValueError(
                f"layout.ulysses {self.layout.ulysses} x layout.gather {self.layout.gather} is not ranks {self.ranks}; "
                "choose degrees that multiply to it, or leave ulysses at 0"
            )
        if self.video_only_ranks and self.max_batch > 1:
            raise ValueError(
                f"with video_only_ranks clips run one at a time, and max_batch is {self.max_batch}; set it to 1"
            )
        return self

    @property
    def parallel_layout(self) -> ParallelLayout | None:
        """The layout that is set; None: whatever moves the fewest bytes."""
        layout = self.layout
        return ParallelLayout(layout.ulysses, layout.gather, layout.halo) if layout.ulysses else None

    @property
    def rank_gpus(self) -> float:
        """Logical Ray GPUs a rank reserves."""
        if self.gpus_per_rank is not None:
            return self.gpus_per_rank
        return 1.0 if self.device == "cuda" else 0.0

    @property
    def compiles(self) -> bool:
        """Whether layers are to be compiled."""
        return self.compiled == "on" or (self.compiled == "auto" and self.device == "cuda")

    @property
    def model_name(self) -> str:
        """What people call the model that is served: the checkpoint's folder, or the preset."""
        return Path(self.checkpoint).name if self.checkpoint else self.preset
