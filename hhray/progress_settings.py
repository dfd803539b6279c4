"""Settings of the progress streams."""

from __future__ import annotations

from pydantic import Field

from hhray.settings_group import SettingsGroup


class ProgressSettings(SettingsGroup):
    """Server-sent events of GET /v1/videos/{id}/events."""

    poll_seconds: float = Field(
        default=0.5,
        gt=0,
        description="Interval at which a replica looks at all tasks that are listened to, at once.",
    )
    stream_seconds: float = Field(
        default=30.0, gt=0, description="A stream ends after so long; clients go on where it ended."
    )
    streams_per_tenant: int = Field(default=200, ge=1, description="Open streams of one tenant at a replica.")
