"""DashScope dialect, inwards: the body and the headers of a create. Pure functions.

Unknown keys are ignored, as the official client sends some. A null counts as absent.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployment.addresses import read_webhook
from deployment.create_call import CreateCall
from deployment.dialects.dashscope_fields import (
    read_boolean,
    read_choice,
    read_dialogue,
    read_integer,
    read_language,
    read_prompt,
    read_resolution,
)
from deployment.dialects.dashscope_media import GivenMedia, data_uri_bytes, parse_media
from deployment.dialects.dashscope_models import WireModel, find_model
from deployment.dialects.dashscope_query import shown
from hhray.errors import AccessDenied, EmptyField, IllegalInput, InvalidParameter
from hhray.geometry import MAX_DURATION, MIN_DURATION, Ratio
from hhray.prompting import bound_prompt
from hhray.request import MAX_INLINE_BYTES, MAX_SEED, AudioSetting, ClipRequest, Media, Mode
from hhray.store_settings import MediaSettings

MAX_BODY_BYTES = 2_000_000
# What is read of any body: the fields, and the pictures inside them.
MAX_STREAM_BYTES = MAX_BODY_BYTES + MAX_INLINE_BYTES
MAX_DEADLINE_SECONDS = 86_400
_WORKSPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A create as far as it must be well-formed to be one: a model there is, and two JSON objects (`parameters` may be
    of any type)."""

    model: WireModel
    given: dict[str, Any]
    parameters: Any


def parse_create(
    body: bytes | bytearray, media: MediaSettings, *, resolves_uploads: bool = False, workspace: str = ""
) -> CreateCall:
    """The body of a create call.

    Raises:
        RequestError: with the wire code, and a sentence that says what was expected.
    """
    return parse_envelope(open_envelope(body), media, resolves_uploads=resolves_uploads, workspace=workspace)


def open_envelope(body: bytes | bytearray) -> Envelope:
    """What a create is refused for at once, however values are validated.

    Raises:
        RequestError: it is too large, no JSON object, or names no model there is.
    """
    inline = data_uri_bytes(body)
    if len(body) - inline > MAX_BODY_BYTES or inline > MAX_INLINE_BYTES:
        raise body_too_large()
    fields = _object(body)
    model = find_model(fields.get("model"))
    given = fields.get("input")
    if given is None:
        raise EmptyField("Input", 'Required input parameter missing from request. Expected "input": {"prompt": ...}.')
    if not isinstance(given, dict):
        raise IllegalInput('The input parameter requires json format. Expected an object, as in {"prompt": ...}.')
    return Envelope(model, given, fields.get("parameters"))


def parse_envelope(
    envelope: Envelope, media: MediaSettings, *, resolves_uploads: bool = False, workspace: str = ""
) -> CreateCall:
    """The values of a create.

    Raises:
        InvalidParameter, InvalidURL, MediaError: a value is wrong.
    """
    model, given = envelope.model, envelope.given
    parameters = {} if envelope.parameters is None else envelope.parameters
    if not isinstance(parameters, dict):
        raise InvalidParameter(f"parameters: expected an object, got {shown(parameters)}.")
    items = parse_media(given, model.mode, media, resolves_uploads=resolves_uploads)
    return create_call(model, given, parameters, items, media, workspace)


def create_call(
    model: WireModel,
    given: dict[str, Any],
    parameters: dict[str, Any],
    items: Sequence[GivenMedia],
    media: MediaSettings,
    workspace: str = "",
) -> CreateCall:
    """The call of a model's `input` and `parameters`, whichever dialect they came in; `items` are its media.

    Raises:
        RequestError: as `parse_create`.
    """
    request = _request(model, given, parameters, tuple(item.media for item in items), workspace)
    bound_prompt(request)  # refuses a prompt that names a picture which is not there
    deadline = read_integer("deadline_seconds", parameters, 1, MAX_DEADLINE_SECONDS, default=0)
    drawn = parameters.get("seed") is None
    webhook = read_webhook("parameters.webhook_url", parameters.get("webhook_url"), media)
    files = tuple(item.data for item in items)
    return CreateCall(request, files, float(deadline), seed_drawn=drawn, webhook=webhook)


def refused_request(envelope: Envelope, workspace: str = "") -> ClipRequest:
    """What is kept of a create whose values are wrong: model, mode and, if it can be kept, the prompt."""
    try:
        prompt = read_prompt(envelope.given, required=False)
    except InvalidParameter:
        prompt = ""
    return ClipRequest(model=envelope.model.name, mode=envelope.model.mode, prompt=prompt, workspace=workspace)


def body_too_large() -> InvalidParameter:
    """The error for a body over the limit."""
    return InvalidParameter(
        f"request body too large: expected at most {MAX_BODY_BYTES} bytes beside the pictures given as data URIs, and "
        f"at most {MAX_INLINE_BYTES} bytes of those together; give larger pictures by URL."
    )


def parse_workspace(value: str | None) -> str:
    """The X-DashScope-WorkSpace header, "" without one. It is written down with the task and opens nothing.

    Raises:
        InvalidParameter: it is not 1 to 64 letters, digits, dots, hyphens or underscores.
    """
    if value and not _WORKSPACE.fullmatch(value):
        raise InvalidParameter(
            "X-DashScope-WorkSpace: expected at most 64 letters, digits, dots, hyphens and underscores."
        )
    return value or ""


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


def _object(body: bytes | bytearray) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise IllegalInput("The input parameter requires json format. Expected a JSON object in UTF-8.") from error
    if not isinstance(fields, dict):
        raise IllegalInput(f"The input parameter requires json format. Expected a JSON object, got {shown(fields)}.")
    return fields


def _request(
    model: WireModel, given: dict[str, Any], parameters: dict[str, Any], media: tuple[Media, ...], workspace: str
) -> ClipRequest:
    """What a mode does not take is ignored: the ratio where the media have one, the duration where the video has."""
    mode, ratio, duration, audio = model.mode, Ratio.R16_9, 5, AudioSetting.AUTO
    if mode in (Mode.T2V, Mode.R2V):
        ratio = read_choice("ratio", parameters, ratio)
    if mode is Mode.VIDEO_EDIT:
        audio = read_choice("audio_setting", parameters, audio)
    else:
        duration = read_integer("duration", parameters, MIN_DURATION, MAX_DURATION, default=duration)
    return ClipRequest(
        model=model.name,
        mode=mode,
        prompt=read_prompt(given, required=mode is not Mode.I2V),
        resolution=read_resolution(parameters, model),
        ratio=ratio,
        duration=duration,
        seed=read_integer("seed", parameters, 0, MAX_SEED, default=secrets.randbelow(MAX_SEED + 1)),
        watermark=read_boolean("watermark", parameters, default=True),
        media=media,
        language=read_language(parameters),
        dialogue=read_dialogue(given),
        audio_setting=audio,
        strict_capabilities=read_boolean("strict_capabilities", parameters, default=False),
        deterministic=read_boolean("deterministic", parameters, default=False),
        workspace=workspace,
    )
