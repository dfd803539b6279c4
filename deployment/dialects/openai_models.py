"""OpenAI dialect: which model and which size a request means. Pure functions."""

from __future__ import annotations

import re

from deployment.dialects.dashscope_models import MODELS, WireModel, find_model
from deployment.dialects.dashscope_query import shown
from hhray.errors import InvalidParameter
from hhray.geometry import FRAMES_PER_SECOND, PIXELS, Ratio, Resolution
from hhray.request import Mode

# A family without a mode means the model for what came along; without any name it is the newest that has the mode.
FAMILIES = ("happyhorse", "happyhorse-1.1", "happyhorse-1.0")
_SIZE = re.compile(r"([0-9]{2,5})\s*[x*]\s*([0-9]{2,5})", re.IGNORECASE)
_BY_PIXELS = {
    str(size): (resolution, ratio)
    for ratio, sizes in PIXELS.items()
    for resolution, size in zip(Resolution, sizes, strict=True)
}


def meant_model(name: object, mode: Mode) -> WireModel:
    """The model a request names, or the one for `mode` - what came along - when it names a family or nothing.

    Raises:
        InvalidParameter: there is no such model, or what came along is for another one.
    """
    if name is None or name == "" or name in FAMILIES:
        family = name if isinstance(name, str) and name not in ("", "happyhorse") else "happyhorse-1.1"
        return MODELS.get(f"{family}-{mode.value}") or MODELS[f"happyhorse-1.0-{mode.value}"]
    model = find_model(name)
    if model.mode is Mode.T2V and mode is not Mode.T2V:
        raise InvalidParameter(
            f"model: {model.name} takes no picture and no video; for what came along expected one of "
            f"{', '.join(other.name for other in MODELS.values() if other.mode is mode)}, or no model at all."
        )
    return model


def meant_size(value: object) -> tuple[Resolution, Ratio | None]:
    """What a `size` means: a tier by name ("720P"), or pixels that are exactly one of the menu ("1280x720").

    Raises:
        InvalidParameter: anything else; the sentence lists the menu.
    """
    if isinstance(value, str):
        if value.upper() in list(Resolution):
            return Resolution(value.upper()), None
        pixels = _SIZE.fullmatch(value.strip())
        found = pixels and _BY_PIXELS.get(f"{int(pixels.group(1))}x{int(pixels.group(2))}")
        if found:
            return found
    raise InvalidParameter(
        f"size: expected {', '.join(Resolution)}, or exactly one of {', '.join(_BY_PIXELS)}; got {shown(value)}."
    )


def meant_seconds(frames: object, rate: object) -> object:
    """Whole seconds of so many frames at that rate (25 when it is left out), as load generators say it.

    Raises:
        InvalidParameter: they are no numbers.
    """
    rate = FRAMES_PER_SECOND if rate is None else rate
    for name, value in (("num_frames", frames), ("fps", rate)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
            raise InvalidParameter(f"{name}: expected an integer from 1 to 10000, got {shown(value)}.")
    assert isinstance(frames, int)  # noqa: S101 - checked just now
    assert isinstance(rate, int)  # noqa: S101 - checked just now
    return round(frames / rate)
