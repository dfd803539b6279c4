"""The model names of the DashScope dialect and what this server does with each."""

from __future__ import annotations

from dataclasses import dataclass

from hhray.errors import EmptyField, InvalidParameter
from hhray.geometry import Resolution
from hhray.request import Mode


@dataclass(frozen=True, slots=True)
class WireModel:
    """A model a client may name, its mode and its menu of resolutions."""

    name: str
    mode: Mode
    resolutions: tuple[Resolution, ...]


# 256P is this server's own addition: the base stage itself, for previews.
_V1_0 = (Resolution.P256, Resolution.P720, Resolution.P1080)
_V1_1 = (Resolution.P256, Resolution.P480, Resolution.P720, Resolution.P1080)
MODELS = {
    model.name: model
    for model in (
        WireModel("happyhorse-1.0-t2v", Mode.T2V, _V1_0),
        WireModel("happyhorse-1.0-i2v", Mode.I2V, _V1_0),
        WireModel("happyhorse-1.0-r2v", Mode.R2V, _V1_0),
        WireModel("happyhorse-1.0-video-edit", Mode.VIDEO_EDIT, _V1_0),  # the hosted API has no 1.1 of it either
        WireModel("happyhorse-1.1-t2v", Mode.T2V, _V1_1),
        WireModel("happyhorse-1.1-i2v", Mode.I2V, _V1_1),
        WireModel("happyhorse-1.1-r2v", Mode.R2V, _V1_1),
    )
}


def find_model(name: object) -> WireModel:
    """The model a request names.

    Raises:
        EmptyField: none is named.
        InvalidParameter: there is no such model.
    """
    if name is None or name == "":
        raise EmptyField("Model", f'Required parameter "model" missing from request. Expected one of {_menu()}.')
    if not isinstance(name, str):
        raise InvalidParameter(f"model: expected a string, one of {_menu()}.")
    if name not in MODELS:
        raise InvalidParameter(f"Model not exist. Expected one of {_menu()}.")
    return MODELS[name]


def _menu() -> str:
    return ", ".join(MODELS)
