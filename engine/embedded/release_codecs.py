"""The small codecs of a release whose hhray.json says "sprite", loaded from the files beside its transformers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from engine.checkpoint.names import TEXT_FILE, VIDEO_FILE
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.meaning import TEXT_CHANNELS
from hhray.errors import ConfigError

LOADED = {
    "text": (TEXT_FILE, "engine.embedded.codecs.text", "SpriteTextEncoder"),
    "video": (VIDEO_FILE, "engine.embedded.codecs.video", "SpriteVideoCodec"),
}


def load_sprite_codec(kind: str, folder: Path, text_channels: int) -> Any:  # noqa: ANN401 - one of three classes
    """The codec of text, video or sound in a release.

    Args:
        kind: "text", "video" or "sound", which has no file.
        folder: of the release.
        text_channels: what the transformer takes.

    Raises:
        ConfigError: its file is absent or damaged, or the transformer takes other text features; the message names it.
    """
    if kind == "sound":
        return SpriteSoundCodec()
    file, module, name = LOADED[kind]
    path = folder / file
    if kind == "text" and text_channels != TEXT_CHANNELS:
        raise ConfigError(
            f"the text encoder in {path} gives {TEXT_CHANNELS} channels, and the network takes {text_channels}"
        )
    try:
        return getattr(import_module(module), name).load(folder)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise ConfigError(f"cannot load the {kind} codec from {path}: {error}; get the release anew") from error
