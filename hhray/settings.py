"""All settings of hhray, documented field by field. This module is the only reader of the environment.

Every field can come from a YAML file (`hhray serve --config FILE`), from the environment (`HHRAY_` + the field's name,
nested with `__`, as in `HHRAY_ENGINE__RANKS=4`) or from code; the file beats the environment, code beats both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hhray.cost import CostModel
from hhray.errors import ConfigError
from hhray.geometry import MAX_DURATION, MIN_DURATION, ClipGeometry, Ratio, Resolution
from hhray.model_size import EMBEDDED
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import DEFAULT_LADDER, ServedModel

# What a rank reaches in the transformer until somebody measures theirs: two cores share the first (measured), the
# second is below what the model's authors report of one H100.
FLOPS_PER_SECOND = {"cpu": 4e10, "cuda": 3e14}


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
    replicas: int = Field(default=1, ge=0, description="Engine replicas.")
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
    sample_rate: Literal[48000, 44100] = Field(default=48000, description="Audio sample rate of clips in Hz.")
    flops_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Cost model: what one rank reaches in the transformer; 0: 4e10 on a CPU, 3e14 on a GPU.",
    )
    pixels_per_second: float = Field(
        default=2e7, gt=0, description="Cost model: pixels decoded and encoded per second."
    )

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
        default=1200.0, gt=0, description="Serve's grace for an engine replica; at least the longest clip."
    )
    health_check_seconds: float = Field(default=5.0, gt=0, description="Serve's health check period.")
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
    store: StoreSettings = StoreSettings()
    media: MediaSettings = MediaSettings()
    keys: KeySettings = KeySettings()
    router: RouterSettings = RouterSettings()
    client: ClientSettings = ClientSettings()
    hub: HubSettings = HubSettings()

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
        engine = self.engine
        return CostModel(served, engine.flops_per_second or FLOPS_PER_SECOND[engine.device], engine.pixels_per_second)

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
