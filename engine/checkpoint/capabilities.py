"""What a checkpoint was trained for, and which stand-ins it does without codecs. Files say neither; `hhray.json` may.

    {"capabilities": {"t2v": true, "i2v": true, "a2v": true, "r2v": false, "edit": false},
     "codecs": {"text": "bytewise", "video": "averaging", "sound": "additive"}}

Either key may be left out. Without capabilities a checkpoint of a known layout is taken for the published weights,
which make video from text, from a first frame and from given audio; references and edits were not trained (model
specification 7). Without codecs the folders of all components must be there.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from hhray.capabilities import Capabilities
from hhray.errors import ConfigError

FILE_NAME = "hhray.json"
STAND_INS = {"text": "bytewise", "video": "averaging", "sound": "additive"}
MODES = tuple(item.name for item in fields(Capabilities))


def read_capabilities(folder: Path, root: Path | None = None) -> Capabilities:
    """From the folder's hhray.json, else from the one of `root`, else those of the published weights.

    Modes that a file leaves out of its capabilities count as not trained.

    Raises:
        ConfigError: the file is no JSON, or says something else than true or false for a known mode.
    """
    for place in (folder, root or folder):
        if "capabilities" in (said := _read(place / FILE_NAME)):
            return Capabilities(**{mode: said["capabilities"].get(mode, False) for mode in MODES})
    return Capabilities()


def read_stand_ins(root: Path) -> frozenset[str]:
    """Which of text, video and sound are stood in for, as the folder's hhray.json says; none without it.

    Raises:
        ConfigError: the file is no JSON, or names another stand-in than the one there is.
    """
    return frozenset(_read(root / FILE_NAME).get("codecs", {}))


def _read(path: Path) -> dict[str, Any]:
    """The file's object, checked; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        able, codecs = said.get("capabilities", {}), said.get("codecs", {})
        good = bool({"capabilities", "codecs"} & said.keys())
        good = good and all(key in MODES and isinstance(value, bool) for key, value in able.items())
        good = good and all(key in STAND_INS and STAND_INS[key] == value for key, value in codecs.items())
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        good = False
    if not good:
        codecs = ", ".join(f'"{key}": "{value}"' for key, value in STAND_INS.items())
        raise ConfigError(
            f'{path} is not understood; expected {{"capabilities": {{MODE: true or false}}}}, '
            f'MODE being one of {", ".join(MODES)}, or {{"codecs": {{some of {codecs}}}}}, or both'
        )
    return dict(said)
