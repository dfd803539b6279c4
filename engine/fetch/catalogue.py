"""The parts of a release: where each lies on the hubs, and under which licence (model specification 4.5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hhray.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Part:
    """Files below `folder` of a repository ("": all of it); a gated part's `licence` must be accepted by name."""

    name: str
    repository: str
    folder: str
    licence: str
    gated: bool = False


_MODEL = "GAIR/daVinci-MagiHuman"
PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("base", _MODEL, "base", "apache-2.0"),
        Part("distill", _MODEL, "distill", "apache-2.0"),
        Part("540p_sr", _MODEL, "540p_sr", "apache-2.0"),
        Part("1080p_sr", _MODEL, "1080p_sr", "apache-2.0"),
        Part("turbo_vae", _MODEL, "turbo_vae", "apache-2.0"),
        Part("text", "google/t5gemma-9b-9b-ul2", "", "gemma", gated=True),
        Part("audio_vae", "stabilityai/stable-audio-open-1.0", "vae", "stability-ai-community", gated=True),
        Part("video_vae", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "vae", "apache-2.0"),
    )
}
DEFAULT_PARTS = tuple(name for name in PARTS if name != "base")


def choose_parts(names: Collection[str]) -> list[Part]:
    """The parts of these names, in the catalogue's order.

    Raises:
        ConfigError: a name is unknown; the message lists the known ones.
    """
    if unknown := [name for name in names if name not in PARTS]:
        raise ConfigError(f"no part {', '.join(map(repr, unknown))}; there are: {', '.join(PARTS)}")
    return [part for part in PARTS.values() if part.name in names]


def require_licences(parts: Collection[Part], accepted: Collection[str]) -> None:
    """Nothing when the licence of every gated part was accepted by name.

    Raises:
        ConfigError: some were not; the message gives the options to add once they have been read.
    """
    gated = {part.licence: part for part in parts if part.gated and part.licence not in accepted}
    if gated:
        what = "; ".join(f"{part.name} is under {name!r}, shown at {part.repository}" for name, part in gated.items())
        options = " ".join(f"--accept-licence {name}" for name in gated)
        raise ConfigError(f"{what}. Read it on the hub's page, ask for access there, and add {options}")
