"""What a checkpoint was trained for, with which codecs, and at which size. Files say none of it; `hhray.json` may.

    {"capabilities": {"t2v": true, "i2v": true, "a2v": true, "r2v": false, "edit": false},
     "codecs": {"text": "bytewise", "video": "averaging", "sound": "additive"},
     "native_share": [5, 14],
     "predicts": "velocity"}

Each key may be left out. Without capabilities a checkpoint of a known layout is taken for the published weights, which
make video from text, from a first frame and from given audio; references and edits were not trained (model
specification 7). Without codecs the folders of all components must be there; "sprite" names the small codecs of
engine.embedded. The base pass runs at the native share of the 256P size, a fraction that is 1 where nothing is said.
Its network predicts velocities, as the published ones do, or "clean" latents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from hhray.capabilities import Capabilities
from hhray.errors import ConfigError

FILE_NAME = "hhray.json"
SPRITE = "sprite"
CODECS = {"text": ("bytewise", SPRITE), "video": ("averaging", SPRITE), "sound": ("additive", SPRITE)}
STAND_INS = {kind: names[0] for kind, names in CODECS.items()}
MODES = tuple(item.name for item in fields(Capabilities))
PREDICTIONS = ("velocity", "clean")
KEYS = ("capabilities", "codecs", "native_share", "predicts")


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


def read_codecs(root: Path) -> dict[str, str]:
    """Which codec of text, video and sound takes the place of a component's folder: its kind -> its name.

    Raises:
        ConfigError: the file is no JSON, or names another codec than there are.
    """
    return dict(_read(root / FILE_NAME).get("codecs", {}))


def read_native_share(root: Path) -> Fraction:
    """At which share of the 256P size the base pass runs.

    Raises:
        ConfigError: the file is no JSON, or says no fraction above 0 and up to 1.
    """
    return Fraction(*_read(root / FILE_NAME).get("native_share", (1, 1)))


def read_predicts_clean(root: Path) -> bool:
    """Whether the base network predicts clean latents instead of velocities.

    Raises:
        ConfigError: the file is no JSON, or names another prediction.
    """
    return bool(_read(root / FILE_NAME).get("predicts") == "clean")


def _read(path: Path) -> dict[str, Any]:
    """The file's object, checked; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        good = any(key in said for key in KEYS) and _is_good(said)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        good = False
    if not good:
        codecs = ", ".join(f'"{kind}": "{names[0]}" or "{names[1]}"' for kind, names in CODECS.items())
        raise ConfigError(
            f'{path} is not understood; expected {{"capabilities": {{MODE: true or false}}}}, '
            f'MODE being one of {", ".join(MODES)}, or {{"codecs": {{some of {codecs}}}}}, '
            f'or {{"native_share": [5, 14]}} or another fraction up to 1, '
            f'or {{"predicts": one of {", ".join(PREDICTIONS)}}}, or some of them'
        )
    return dict(said)


def _is_good(said: Mapping[str, Any]) -> bool:
    able, codecs, share = said.get("capabilities", {}), said.get("codecs", {}), said.get("native_share", [1, 1])
    good = all(key in MODES and isinstance(value, bool) for key, value in able.items())
    good = good and all(value in CODECS.get(kind, ()) for kind, value in codecs.items())
    good = good and said.get("predicts", PREDICTIONS[0]) in PREDICTIONS
    good = good and isinstance(share, list) and len(share) == 2 and all(type(part) is int for part in share)
    return good and 0 < share[0] <= share[1]
