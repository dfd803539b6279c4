"""Settings of the servers around the engines, and of the clients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from hhray.settings_group import SettingsGroup


class HttpSettings(SettingsGroup):
    """Where the server listens and how it names itself."""

    host: str = Field(default="127.0.0.1", description="Address to bind. Without API keys only loopback is allowed.")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port of the HTTP server.")
    public_url: str = Field(
        default="",
        description="Base of download URLs, e.g. https://video.example.com; empty: the host the client called.",
    )
    body_idle_seconds: float = Field(
        default=30.0, gt=0, description="A request whose body stands still for so long is answered with 408."
    )
    ingress_replicas: int = Field(default=1, ge=1, description="Stateless ingress replicas.")
    validation: Literal["eager", "deferred"] = Field(
        default="eager",
        description="What becomes of a create with a wrong value. eager: it is refused with 400; deferred, as the "
        "hosted API has it: it is a task that ends FAILED.",
    )
    merge_reposts: bool = Field(
        default=False,
        description="A create without an Idempotency-Key that repeats, within 5 s, one whose client was seen to go "
        "away unanswered gets that one's task. For clients that send a request again after a dropped connection.",
    )


class RouterSettings(SettingsGroup):
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


class AutoscalingSettings(SettingsGroup):
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


class ClientSettings(SettingsGroup):
    """Defaults of the client verbs (`hhray submit|wait|get|cancel|list`); a server does not use them."""

    url: str = Field(default="http://127.0.0.1:8000", description="Server the client verbs talk to.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Bearer key the client verbs send; empty: none.")


class HubSettings(SettingsGroup):
    """Where `hhray fetch-weights` gets weights; a server does not use it."""

    huggingface_token: SecretStr = Field(
        default=SecretStr(""), description="Token for gated parts on Hugging Face; sent to that hub only."
    )
    modelscope_token: SecretStr = Field(
        default=SecretStr(""), description="Token for gated parts on ModelScope; sent to that hub only."
    )
