"""Settings of uploads: files that clients send ahead of a create."""

from __future__ import annotations

from pydantic import Field

from hhray.settings_group import SettingsGroup


class UploadSettings(SettingsGroup):
    """What clients may send, and how long it is kept. How large a file may be is in the group media."""

    ttl_seconds: float = Field(
        default=172800.0, gt=0, description="An upload is kept so long; tasks have their copies."
    )
    policy_seconds: int = Field(default=300, ge=1, description="Life of the permission to upload one file.")
    tenant_bytes: int = Field(
        default=10_000_000_000, ge=0, description="Bytes of uploads one tenant may keep; 0: none."
    )
    parallel: int = Field(default=16, ge=1, description="Uploads one ingress replica takes in at once; others wait.")
    grace_seconds: float = Field(
        default=60.0,
        gt=0,
        description="An upload may take so long, and as much longer as its bytes need at the rate below.",
    )
    least_bytes_per_second: float = Field(
        default=32_768.0, gt=0, description="An upload that is slower than this for longer than the grace is refused."
    )
