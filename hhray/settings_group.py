"""What all groups of settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SettingsGroup(BaseModel):
    """A group of settings: unknown names are refused, values stay as they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
