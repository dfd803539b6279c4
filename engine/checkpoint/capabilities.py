"""What a checkpoint was trained for. Files say nothing about it, so `hhray.json` beside the weights may.

    {"capabilities": {"t2v": true, "i2v": true, "a2v": true, "r2v": false, "edit": false}}

Without that file a checkpoint of a known layout is taken for the published weights, which make video from text, from a
first frame and from given audio; references and edits were not trained (model specification 7).
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from hhray.capabilities import Capabilities
from hhray.errors import ConfigError

FILE_NAME = "hhray.json"


def read_capabilities(folder: Path, root: Path | None = None) -> Capabilities:
    """From the folder's hhray.json, else from the one of `root`, else those of the published weights.

    Modes that the file leaves out count as not trained.

    Raises:
        ConfigError: the file is no JSON, or says something else than true or false for a known mode.
    """
    for place in (folder, root or folder):
        if (place / FILE_NAME).is_file():
            return _parse(place / FILE_NAME)
    return Capabilities()


def _parse(path: Path) -> Capabilities:
    modes = [item.name for item in fields(Capabilities)]
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["capabilities"]
        good = isinstance(said, dict) and all(key in modes and isinstance(said[key], bool) for key in said)
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise ConfigError(
            f'{path} is not understood; expected {{"capabilities": {{MODE: true or false}}}}, '
            f"MODE being one of {', '.join(modes)}"
        )
    return Capabilities(**{mode: said.get(mode, False) for mode in modes})
