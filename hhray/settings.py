"""All settings of hhray, documented field by field. This module is the only reader of the environment.

Every field can come from a YAML file (`hhray serve --config FILE`), from the environment (`HHRAY_` + the field's name,
nested with `__`, as in `HHRAY_ENGINE__RANKS=4`) or from code; the file beats the environment, code beats both.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hhray.cost import CostModel
from hhray.cost_defaults import DEVICE_COSTS
from hhray.errors import ConfigError
from hhray.geometry import MAX_DURATION, MIN_DURATION, ClipGeometry, Ratio, Resolution
from hhray.model_size import EMBEDDED
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import DEFAULT_LADDER, ServedModel
from hhray.tenancy import TenantSettings, check_reserved


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpSettings(_Group):
    """Where the server listens and how it names itself."""

    host: str = Field(default="127.0.0.1", description="Address to bind. Without API keys only loopback is allowed.")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port of the HTTP server.")
    public_url: str = Field(
        default="",
        description="Base of download URLs, e.g. https://video.example.com; empty: the host the client called.",
    )
    ingress_replicas: int = Field(default=1, ge=1, description="Stateless ingress replicas.")


class LayoutSettings(_Group):
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


class WarmUpShape(_Group):
    """A clip whose shapes are run once while an engine loads."""

    resolution: Resolution = Field(description="Tier, such as 720P.")
    ratio: Ratio = Field(default=Ratio.R16_9, description="Picture ratio, in quotes: YAML reads a bare 16:9 as 969.")
    duration: int = Field(default=5, ge=MIN_DURATION, le=MAX_DURATION, description="Length in seconds.")

    @property
    def geometry(self) -> ClipGeometry:
        return ClipGeometry(self.resolution, self.ratio, self.duration)


class CostSettings(_Group):
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


class EngineSettings(_Group):
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


class StoreSettings(_Group):
    """Task store and artifact store; empty paths lie under `data_dir`."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL database of tasks, postgresql://user:password@host:5432/database, made by `hhray "
        "migrate`; empty: a SQLite file, for one machine.",
    )
    connections: int = Field(default=8, ge=1, description="Most PostgreSQL connections of one process.")
    cluster: str = Field(
        default="main",
        pattern=r"^[\w.-]{1,64}$",
        description="Name of this Ray cluster among those that share a PostgreSQL database; each drains by itself.",
    )
    sqlite_path: str = Field(default="", description="SQLite file; empty: <data_dir>/tasks.sqlite3.")
    artifact_dir: str = Field(default="", description="Directory of inputs and clips; empty: <data_dir>/artifacts.")
    lease_seconds: float = Field(default=20.0, gt=0, description="A running task not renewed for so long is requeued.")
    max_faults: int = Field(default=3, ge=1, description="A task that made this many gangs fail ends FAILED.")
    task_ttl_seconds: float = Field(default=86400.0, gt=0, description="Tasks and files are kept so long after submit.")
    min_free_bytes: int = Field(
        default=256 * 1024**2,
        ge=0,
        description="With less room on a disk no clip is begun on its engine, and no new media is taken in.",
    )
    orphan_grace_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Files that no task names are removed at this age; longer than engine.publish_patience_seconds.",
    )
    url_ttl_seconds: float = Field(default=86400.0, gt=0, description="Life of a signed download URL.")
    max_queued: int = Field(
        default=10000, ge=1, description="Creates are refused with 429 beyond so many unfinished tasks."
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not re.match("(postgres(ql)?://|memory:|$)", url.get_secret_value()):
            raise ValueError("expected postgresql://user:password@host:5432/database, or nothing for a SQLite file")
        return url


class MediaSettings(_Group):
    """Intake of media files."""

    allowed_private: tuple[str, ...] = Field(
        default=(),
        description="host:port pairs that may be fetched although their "
        "address is private; each redirect is checked anew.",
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest download of one picture.")
    task_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest download of all files of one task together, a video among them."
    )
    max_bytes: int = Field(default=20_000_000, ge=1, description="Largest picture file.")
    max_video_bytes: int = Field(default=100_000_000, ge=1, description="Largest video file.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="Largest picture, checked before it is decoded.")
    max_redirects: int = Field(default=3, ge=0, description="Redirects followed for one file.")
    probe_seconds: float = Field(default=20.0, gt=0, description="CPU time a look into one video may take.")
    probe_bytes: int = Field(default=2 * 1024**3, ge=1, description="Memory a look into one video may take.")


class KeySettings(_Group):
    """Who may call. No file and no keys: loopback only, and any bearer is accepted."""

    file: str = Field(
        default="", description="JSON file written by `hhray keys create`; empty: <data_dir>/keys.json if it exists."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Server secret for key hashes and URL signatures; "
        "empty: <data_dir>/secret, made at first start, readable by its owner only.",
    )


class AutoscalingSettings(_Group):
    """How many engines there are. With equal bounds their number is fixed; else it follows the work, in GPU-seconds."""

    min_engines: int | None = Field(
        default=None, ge=0, description="Fewest engines; 0: none while there is nothing to do. Empty: engine.replicas."
    )
    max_engines: int | None = Field(default=None, ge=1, description="Most engines. Empty: engine.replicas.")
    drain_target_seconds: float = Field(
        default=120.0, gt=0, description="There are enough engines when they make all that waits within this time."
    )
    utilisation: float = Field(
        default=0.8, gt=0, le=1, description="Share of an engine's time that the work that keeps arriving may take."
    )
    efficiency: float = Field(
        default=0.85, gt=0, le=1, description="GPU-seconds of clips an engine makes in a second, for each of its ranks."
    )
    arrival_window_seconds: float = Field(
        default=300.0, gt=0, description="The rate of arriving work is measured over so long."
    )
    up_window_seconds: float = Field(
        default=10.0, ge=0, description="More work must last so long before engines are added; from none at once."
    )
    down_window_seconds: float = Field(
        default=300.0, ge=0, description="Less work must last so long, and a cold start, before engines are stopped."
    )
    idle_grace_seconds: float = Field(
        default=600.0, ge=0, description="Nothing may wait or run for so long, and two cold starts, before all stop."
    )
    cold_start_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Start of an engine as far as the server cannot measure it (a new machine, its image); what was "
        "measured counts when it is longer.",
    )
    stale_seconds: float = Field(
        default=30.0, gt=0, description="A measurement that stays the same for so long changes nothing any more."
    )
    interval_seconds: float = Field(default=2.0, gt=0, description="Interval at which the work is measured.")


class ClientSettings(_Group):
    """Defaults of the client verbs (`hhray submit|wait|get|cancel|list`); a server does not use them."""

    url: str = Field(default="http://127.0.0.1:8000", description="Server the client verbs talk to.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Bearer key the client verbs send; empty: none.")


class HubSettings(_Group):
    """Where `hhray fetch-weights` gets weights; a server does not use it."""

    huggingface_token: SecretStr = Field(
        default=SecretStr(""), description="Token for gated parts on Hugging Face; sent to that hub only."
    )
    modelscope_token: SecretStr = Field(
        default=SecretStr(""), description="Token for gated parts on ModelScope; sent to that hub only."
    )


class RouterSettings(_Group):
    """The router's clockwork."""

    tickets_per_engine: int = Field(
        default=2, ge=1, description="Tickets kept waiting on the engines' handle, per engine."
    )
    poll_seconds: float = Field(
        default=0.5, gt=0, description="Interval at which new tasks are looked for without a hint."
    )
    reconcile_seconds: float = Field(default=3.0, gt=0, description="Interval of a full comparison with the store.")
    heartbeat_seconds: float = Field(default=1.0, gt=0, description="Interval of engine heartbeats.")
    assign_timeout_seconds: float = Field(
        default=2.0, gt=0, description="After so long without the router, engines claim oldest first."
    )


class Settings(BaseSettings):
    """The whole of it."""

    model_config = SettingsConfigDict(env_prefix="HHRAY_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data_dir: str = Field(
        default="", description="Home of a single-machine server's state; empty: ~/.local/share/hhray."
    )
    drain_seconds: float = Field(
        default=60.0,
        ge=0,
        description="At a stop, running clips may finish within this time; after it they go back to PENDING.",
    )
    graceful_shutdown_seconds: float = Field(
        default=1200.0,
        gt=0,
        description="Serve's grace for an engine that is to stop. Longer where the clips offered may take longer.",
    )
    health_check_seconds: float = Field(default=5.0, gt=0, description="Serve's health check period.")
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
    store: StoreSettings = StoreSettings()
    media: MediaSettings = MediaSettings()
    keys: KeySettings = KeySettings()
    router: RouterSettings = RouterSettings()
    tenants: dict[str, TenantSettings] = Field(
        default_factory=dict, description="Weight, priority and reserved share by tenant; others have the defaults."
    )
    autoscaling: AutoscalingSettings = AutoscalingSettings()
    client: ClientSettings = ClientSettings()
    hub: HubSettings = HubSettings()

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        check_reserved(self.tenants)
        return self

    @model_validator(mode="after")
    def _engine_bounds_fit(self) -> Self:
        least, most = self.engine_bounds
        if least > most:
            raise ValueError(
                f"autoscaling.min_engines {least} is more than autoscaling.max_engines {most}; what is left out is "
                f"engine.replicas, {self.engine.replicas}"
            )
        return self

    @property
    def engine_bounds(self) -> tuple[int, int]:
        """Fewest and most engine replicas; equal: a fixed number."""
        least, most = self.autoscaling.min_engines, self.autoscaling.max_engines
        replicas = self.engine.replicas
        return replicas if least is None else least, replicas if most is None else most

    @property
    def autoscales(self) -> bool:
        """Whether the number of engines follows the work."""
        least, most = self.engine_bounds
        return least != most

    @property
    def home(self) -> Path:
        """The data directory, absolute."""
        return (
            Path(self.data_dir).expanduser().resolve() if self.data_dir else Path("~/.local/share/hhray").expanduser()
        )

    @property
    def sqlite_file(self) -> Path:
        return Path(self.store.sqlite_path) if self.store.sqlite_path else self.home / "tasks.sqlite3"

    @property
    def artifact_dir(self) -> Path:
        return Path(self.store.artifact_dir) if self.store.artifact_dir else self.home / "artifacts"

    @property
    def keys_file(self) -> Path:
        return Path(self.keys.file) if self.keys.file else self.home / "keys.json"

    @property
    def scratch_dir(self) -> Path:
        """Where ranks write clips before they are published; on the engine's own machine."""
        return self.home / "scratch"

    @property
    def kernel_dir(self) -> Path:
        """Where ranks keep compiled kernels; on the engine's own machine."""
        return Path(self.engine.kernel_dir) if self.engine.kernel_dir else self.home / "kernels"

    def cost_model(self, served: ServedModel) -> CostModel:
        """The cost model of what is served."""
        engine, known = self.engine, DEVICE_COSTS[self.engine.device]
        overheads = replace(known.overheads, **engine.costs.model_dump(exclude_none=True))
        flops = engine.flops_per_second or known.flops_per_second
        return CostModel(served, flops, engine.pixels_per_second or known.pixels_per_second, overheads)

    def to_args(self) -> dict[str, Any]:
        """Plain values that rebuild these settings (`Settings(**args)`) in another process; secrets included,
        except for the client's and the hub's group: those keys have no business in a server's processes."""
        args = self.model_dump(mode="json", exclude={"client", "hub"})
        args["keys"]["secret"] = self.keys.secret.get_secret_value()
        args["store"]["url"] = self.store.url.get_secret_value()
        return args


def load_settings(config: Path | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from defaults, the environment, a YAML file and code, the later beating the earlier.

    Raises:
        ConfigError: the file cannot be read, or a value does not fit; the message names field and file.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read settings from {config}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{config}: expected a mapping of settings, found {type(values).__name__}")
    try:
        return Settings(**_merged(values, overrides or {}))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        source = f" in {config}" if config else ""
        raise ConfigError(f"settings{source} do not fit: " + "; ".join(lines)) from error


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
