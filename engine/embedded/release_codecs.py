"""The small codecs of a release whose hhray.json says "sprite", loaded from the files beside its transformers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from engine.checkpoint.names import TEXT_FILE
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.meaning import TEXT_CHANNELS
from hhray.errors import ConfigError

# imported where a release names them: the published weights need none of it
LOADED = {
    "text": ("engine.embedded.codecs.text", "SpriteTextEncoder"),
    "video": ("engine.embedded.codecs.video", "SpriteVideoCodec"),
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
    if kind == "text" and text_channels != TEXT_CHANNELS:
        raise ConfigError(
            f"the text encoder in {folder / TEXT_FILE} gives {TEXT_CHANNELS} channels, "
            f"and the network takes {text_channels}"
        )
    module, name = LOADED[kind]
    return getattr(import_module(module), name).load(folder)
