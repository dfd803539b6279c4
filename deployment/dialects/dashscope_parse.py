"""DashScope dialect, inwards: the body and the headers of a create. Pure functions.

Unknown keys are ignored, as the official client sends some. A null counts as absent.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from deployment.dialects.dashscope_media import MAX_DATA_URI_BYTES, FirstFrame, data_uri_bytes, parse_first_frame
from deployment.dialects.dashscope_models import WireModel, find_model
from deployment.dialects.dashscope_query import shown
from hhray.errors import AccessDenied, EmptyField, IllegalInput, InvalidParameter
from hhray.geometry import MAX_DURATION, MIN_DURATION, Ratio, Resolution
from hhray.request import MAX_SEED, ClipRequest, Mode
from hhray.settings import MediaSettings

MAX_BODY_BYTES = 2_000_000
# What is read of any body: the fields, and one picture inside them.
MAX_STREAM_BYTES = MAX_BODY_BYTES + MAX_DATA_URI_BYTES
MAX_PROMPT_WEIGHT = 5000
# Ideographs, which count twice: unified (with extensions), compatibility, and the planes reserved for more.
_CJK_CHARACTER = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it was asked for. `picture` holds the bytes of a data URI, None when there is none."""

    request: ClipRequest
    picture: bytes | None = None


def parse_create(body: bytes, media: MediaSettings) -> CreateCall:
    """The body of a create call.

    Raises:
        RequestError: with the wire code, and a sentence that says what was expected.
    """
    if len(body) - data_uri_bytes(body) > MAX_BODY_BYTES:
        raise body_too_large()
    fields = _object(body)
    model = find_model(fields.get("model"))
    given = fields.get("input")
    if given is None:
        raise EmptyField("Input", 'Required input parameter missing from request. Expected "input": {"prompt": ...}.')
    if not isinstance(given, dict):
        raise IllegalInput('The input parameter requires json format. Expected an object, as in {"prompt": ...}.')
    parameters = fields.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise InvalidParameter(f"parameters: expected an object, got {shown(parameters)}.")
    frame = parse_first_frame(given, media) if model.mode is Mode.I2V else None
    return CreateCall(_request(model, given, parameters, frame), frame.data if frame else None)


def body_too_large() -> InvalidParameter:
    """The error for a body over the limit."""
    return InvalidParameter(
        f"request body too large: expected at most {MAX_BODY_BYTES} bytes beside a picture given as a data URI "
        f"(at most {MAX_DATA_URI_BYTES} bytes)."
    )


def check_async_header(value: str | None) -> None:
    """Refuse calls that want to wait for the clip in the same exchange.

    Raises:
        AccessDenied: X-DashScope-Async is missing or not "enable".
    """
    if (value or "").lower() != "enable":
        raise AccessDenied(
            "current user api does not support synchronous calls. Expected the header 'X-DashScope-Async: enable'."
        )


def parse_idempotency_key(value: str | None) -> str | None:
    """The Idempotency-Key header, None without one.

    Raises:
        InvalidParameter: it is not 1 to 128 printable ASCII characters.
    """
    if value is not None and not _IDEMPOTENCY_KEY.fullmatch(value):
        raise InvalidParameter("Idempotency-Key: expected 1 to 128 printable ASCII characters without spaces.")
    return value


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise IllegalInput("The input parameter requires json format. Expected a JSON object in UTF-8.") from error
    if not isinstance(fields, dict):
        raise IllegalInput(f"The input parameter requires json format. Expected a JSON object, got {shown(fields)}.")
    return fields


def _request(
    model: WireModel, given: dict[str, Any], parameters: dict[str, Any], frame: FirstFrame | None
) -> ClipRequest:
    ratio = _ratio(parameters) if model.mode is Mode.T2V else Ratio.R16_9
    return ClipRequest(
        model=model.name,
        mode=model.mode,
        prompt=_prompt(given.get("prompt"), required=model.mode is Mode.T2V),
        resolution=_resolution(parameters, model),
        ratio=ratio,
        duration=_integer("duration", parameters, MIN_DURATION, MAX_DURATION, default=5),
        seed=_integer("seed", parameters, 0, MAX_SEED, default=secrets.randbelow(MAX_SEED + 1)),
        watermark=_boolean("watermark", parameters, default=True),
        media=(frame.media,) if frame else (),
    )


def _prompt(value: object, *, required: bool) -> str:
    if value is None and not required:
        return ""
    if value is None:
        raise InvalidParameter("Field required: input.prompt. Expected a text that describes the clip.")
    if not isinstance(value, str):
        raise InvalidParameter(f"input.prompt: expected a string, got {shown(value)}.")
    if required and not value.strip():
        raise InvalidParameter("input.prompt: expected a text that describes the clip, but it is empty.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidParameter("input.prompt: expected text without NUL characters and lone surrogates.")
    return _truncated(value)


def _truncated(prompt: str) -> str:
    """The prompt up to the limit; an ideograph weighs 2, everything else 1."""
    if len(prompt) * 2 <= MAX_PROMPT_WEIGHT:
        return prompt
    weight = 0
    for index, character in enumerate(prompt):
        weight += 2 if _CJK_CHARACTER.match(character) else 1
        if weight > MAX_PROMPT_WEIGHT:
            return prompt[:index]
    return prompt


def _resolution(parameters: dict[str, Any], model: WireModel) -> Resolution:
    value = parameters.get("resolution")
    if value is None:
        return Resolution.P1080
    if not isinstance(value, str) or value not in list(model.resolutions):
        menu = ", ".join(model.resolutions)
        raise InvalidParameter(f"parameters.resolution: expected one of {menu} for {model.name}, got {shown(value)}.")
    return Resolution(value)


def _ratio(parameters: dict[str, Any]) -> Ratio:
    value = parameters.get("ratio")
    if value is None:
        return Ratio.R16_9
    if not isinstance(value, str) or value not in list(Ratio):
        raise InvalidParameter(f"parameters.ratio: expected one of {', '.join(Ratio)}, got {shown(value)}.")
    return Ratio(value)


def _integer(name: str, parameters: dict[str, Any], least: int, most: int, default: int) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameter(f"parameters.{name}: expected an integer from {least} to {most}, got {shown(value)}.")
    return value


def _boolean(name: str, parameters: dict[str, Any], *, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidParameter(f"parameters.{name}: expected true or false, got {shown(value)}.")
    return value
