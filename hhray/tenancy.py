"""What an operator grants to tenants: weight, priority, and GPUs of their own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from hhray.marking_settings import MarkingPolicy
from hhray.tasks import Priority


class TenantSettings(BaseModel):
    """One tenant's share. A tenant that no setting names has the defaults."""

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


ANYBODY = TenantSettings()


def tenant_settings(tenants: Mapping[str, TenantSettings], tenant: str) -> TenantSettings:
    """What is granted to a tenant."""
    return tenants.get(tenant, ANYBODY)


def check_reserved(tenants: Mapping[str, TenantSettings]) -> None:
    """Refuse shares that no cluster can keep.

    Raises:
        ValueError: the reserved shares are more than all GPUs.
    """
    total = sum(one.reserved for one in tenants.values())
    if total > 1 + 1e-9:
        raise ValueError(f"the reserved shares of {', '.join(sorted(tenants))} sum to {total:g}; at most 1 is there")
