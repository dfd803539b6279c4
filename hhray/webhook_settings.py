"""Settings of webhooks. Who may be reached lies in `media.ports` and `media.allowed_private`: one network guard."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from hhray.settings_group import SettingsGroup


class WebhookSettings(SettingsGroup):
    """How receivers are told of the end of tasks."""

    timeout_seconds: float = Field(default=15.0, gt=0, le=60, description="Longest one attempt may take.")
    window_seconds: float = Field(
        default=7200.0, gt=0, description="After so long without success a delivery is given up."
    )
    keep_seconds: float = Field(
        default=7 * 86400.0, gt=0, description="The log of deliveries goes back so far; longer than the window."
    )
    max_at_once: int = Field(default=16, ge=1, description="Attempts under way at a time in one ingress replica.")
    per_receiver: int = Field(
        default=4, ge=1, description="Attempts of one tenant to one host and port at a time, in all replicas together."
    )
    per_tenant: int = Field(default=8, ge=1, description="The same for all receivers of a tenant.")
    poll_seconds: float = Field(default=1.0, gt=0, description="Interval at which due deliveries are looked for.")

    @model_validator(mode="after")
    def _kept_while_tried(self) -> Self:
        if self.keep_seconds <= self.window_seconds:
            raise ValueError(
                f"webhooks.keep_seconds {self.keep_seconds:g} must be longer than webhooks.window_seconds "
                f"{self.window_seconds:g}: what is still tried must not be removed"
            )
        return self
