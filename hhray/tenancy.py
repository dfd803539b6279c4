"""What an operator grants to tenants: weight, priority, GPUs of their own, quotas, and how long prompts are kept."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from hhray.marking_settings import MarkingPolicy
from hhray.quotas import Quota
from hhray.tasks import Priority


class TenantSettings(BaseModel):
    """One tenant's share and limits. A tenant that no setting names has those of `default_tenant`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Share of GPU-seconds against other tenants while all of them wait."
    )
    priority: Priority = Field(default=Priority.STANDARD, description="Class of all of its tasks: high, standard, low.")
    reserved: float = Field(
        default=0.0, ge=0, le=1, description="Share of all GPUs the tenant owns: inside it its tasks wait for nobody."
    )
    marking: MarkingPolicy = Field(default=MarkingPolicy(), description="Marks of its clips, where not the server's.")
    webhook_url: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        max_length=2048,
        description="Where the end of each of its tasks is told that names no webhook_url itself; empty: nowhere.",
    )
    webhook_generations: tuple[int, ...] = Field(
        default=(1,),
        min_length=1,
        max_length=8,
        description="Secrets its webhooks are signed with (`hhray webhooks secret`): two while one is being changed.",
    )
    creates_per_second: float = Field(default=0.0, ge=0, le=10000, description="Creates a second; 0: no limit.")
    create_burst: int = Field(default=10, ge=1, le=100000, description="Creates that may come at once, at that rate.")
    max_running: int = Field(
        default=0, ge=0, description="Tasks that run at once; others wait as PENDING. 0: no limit."
    )
    max_queued: int = Field(
        default=0, ge=0, description="Tasks that may wait or run; more creates are refused with 429. 0: no limit."
    )
    gpu_seconds_per_day: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="GPU-seconds, by the cost model, of the clips created in a day (UTC); failed and cancelled ones "
        "are given back. 0: no limit.",
    )
    video_seconds_per_month: float = Field(
        default=0.0, ge=0, le=1e9, description="Seconds of video of the clips created in a month (UTC). 0: no limit."
    )
    keep_prompts: bool = Field(
        default=True, description="False: prompt and dialogue are blanked in the store once the task has ended."
    )

    @property
    def quota(self) -> Quota:
        """The limits that a create is checked against, in the transaction that inserts its task."""
        return Quota(
            self.creates_per_second,
            self.create_burst,
            self.max_queued,
            self.gpu_seconds_per_day,
            self.video_seconds_per_month,
        )


ANYBODY = TenantSettings()


def tenant_settings(
    tenants: Mapping[str, TenantSettings], tenant: str, default: TenantSettings = ANYBODY
) -> TenantSettings:
    """What is granted to a tenant."""
    return tenants.get(tenant, default)


def check_reserved(tenants: Mapping[str, TenantSettings], default: TenantSettings = ANYBODY) -> None:
    """Refuse shares that no cluster can keep.

    Raises:
        ValueError: the reserved shares are more than all GPUs, or one belongs to nobody in particular.
    """
    total = sum(one.reserved for one in tenants.values())
    if total > 1 + 1e-9:
        raise ValueError(f"the reserved shares of {', '.join(sorted(tenants))} sum to {total:g}; at most 1 is there")
    if default.reserved:
        raise ValueError("default_tenant.reserved: a reserved share belongs to one tenant; give it below tenants")
