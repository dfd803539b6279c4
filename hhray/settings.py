"""All settings of hhray, documented field by field. This module is the only reader of the environment.

Every field can come from a YAML file (`hhray serve --config FILE`), from the environment (`HHRAY_` + the field's name,
nested with `__`, as in `HHRAY_ENGINE__RANKS=4`) or from code; the file beats the environment, code beats both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hhray.cost import CostModel
from hhray.cost_defaults import DEVICE_COSTS
from hhray.engine_settings import EngineSettings
from hhray.errors import ConfigError
from hhray.marking_settings import MarkingPolicy, MarkingSettings, check_policy
from hhray.moderation_settings import ModerationSettings
from hhray.progress_settings import ProgressSettings
from hhray.served_model import ServedModel
from hhray.service_settings import AutoscalingSettings, ClientSettings, HttpSettings, HubSettings, RouterSettings
from hhray.store_settings import KeySettings, MediaSettings, StoreSettings
from hhray.tenancy import TenantSettings, check_reserved, tenant_settings
from hhray.upload_settings import UploadSettings
from hhray.webhook_settings import WebhookSettings


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
    uploads: UploadSettings = UploadSettings()
    marking: MarkingSettings = MarkingSettings()
    moderation: ModerationSettings = ModerationSettings()
    keys: KeySettings = KeySettings()
    router: RouterSettings = RouterSettings()
    tenants: dict[str, TenantSettings] = Field(
        default_factory=dict, description="Share, quotas and rules by tenant; others have those of default_tenant."
    )
    webhooks: WebhookSettings = WebhookSettings()
    default_tenant: TenantSettings = TenantSettings()
    progress: ProgressSettings = ProgressSettings()
    autoscaling: AutoscalingSettings = AutoscalingSettings()
    client: ClientSettings = ClientSettings()
    hub: HubSettings = HubSettings()

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        check_reserved(self.tenants, self.default_tenant)
        return self

    @model_validator(mode="after")
    def _marks_can_be_made(self) -> Self:
        check_policy(self.marking, MarkingPolicy(), "marking")
        for name, tenant in self.tenants.items():
            check_policy(self.marking, tenant.marking, f"tenants.{name}.marking")
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
    def work_dirs(self) -> tuple[Path, ...]:
        """Where an engine needs room: scratch, and the artifacts where they are files of this machine."""
        return (self.scratch_dir,) if self.store.artifact_url else (self.scratch_dir, self.artifact_dir)

    @property
    def kernel_dir(self) -> Path:
        """Where ranks keep compiled kernels; on the engine's own machine."""
        return Path(self.engine.kernel_dir) if self.engine.kernel_dir else self.home / "kernels"

    def granted(self, tenant: str) -> TenantSettings:
        """What is granted to a tenant."""
        return tenant_settings(self.tenants, tenant, self.default_tenant)

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
        args["store"]["s3"] = self.store.s3.to_args()
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
