"""OpenAI dialect, inwards: from the fields of a create to a call in no dialect, by the other dialect's rules.

Fields that a video server elsewhere has and this one has not (steps, guidance, negative prompts) are ignored, so that
its clients and load generators work unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from deployment.create_call import CreateCall
from deployment.dialects.dashscope_parse import create_call
from deployment.dialects.dashscope_query import shown
from deployment.dialects.openai_fields import Fields, plain, unwrapped
from deployment.dialects.openai_media import MEDIA_FIELDS, checked_media, given_media, meant_mode
from deployment.dialects.openai_models import meant_model, meant_seconds, meant_size
from hhray.errors import IllegalInput, InvalidParameter
from hhray.geometry import Resolution
from hhray.store_settings import MediaSettings

_INPUT = ("prompt", "dialogue")
_OWN = frozenset({"model", "size", "seconds", "num_frames", "fps", "width", "height", *_INPUT, *MEDIA_FIELDS})


def json_fields(body: bytes | bytearray) -> Fields:
    """The fields of a JSON body.

    Raises:
        IllegalInput: it is not the JSON text of an object.
    """
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise IllegalInput("body: expected a JSON object in UTF-8, or multipart/form-data.") from error
    if not isinstance(fields, dict):
        raise IllegalInput(f"body: expected a JSON object, got {shown(fields)}.")
    return fields


def parse_create(fields: Fields, tiers: Sequence[Resolution], media: MediaSettings) -> CreateCall:
    """The call that the fields of a create mean. `tiers` are those on offer; without a size it is 1080P or, where that
    is not on offer, the highest there is.

    Raises:
        RequestError: with the wire code, and a sentence that says what was expected.
    """
    flat = unwrapped(fields)
    found = given_media(flat)
    model = meant_model(flat.get("model"), meant_mode(found))
    given = {name: flat[name] for name in _INPUT if name in flat}
    parameters = {name: plain(name, value) for name, value in flat.items() if name not in _OWN}
    parameters |= _length(flat) | _size(flat, parameters)
    if "resolution" not in parameters and Resolution.P1080 not in tiers:
        parameters["resolution"] = max(tiers, key=list(Resolution).index).value
    return create_call(model, given, parameters, checked_media(found, model.mode, media), media)


def _length(flat: Fields) -> Fields:
    """`seconds`, or the frames that make them; neither: the shared default."""
    if flat.get("seconds") is not None:
        return {"duration": plain("seconds", flat["seconds"])}
    if flat.get("num_frames") is not None and flat.get("duration") is None:
        frames, rate = plain("num_frames", flat["num_frames"]), plain("fps", flat.get("fps"))
        return {"duration": meant_seconds(frames, rate)}
    return {}


def _size(flat: Fields, parameters: Fields) -> Fields:
    """Tier and ratio of `size`, or of `width` and `height`; a tier in any case of letters.

    Raises:
        InvalidParameter: it is not on the menu, or says other than `resolution` or `ratio`.
    """
    size = flat.get("size")
    if size is None and flat.get("width") is not None and flat.get("height") is not None:
        size = f"{flat['width']}x{flat['height']}"
    named = parameters.get("resolution")
    if isinstance(named, str):
        parameters["resolution"] = named.upper()
    if "aspect_ratio" in parameters:
        parameters.setdefault("ratio", parameters.pop("aspect_ratio"))
    if size is None or size == "":
        return {}
    resolution, ratio = meant_size(size)
    meant = {"resolution": resolution.value} | ({"ratio": ratio.value} if ratio else {})
    for name, value in meant.items():
        if parameters.get(name, value) != value:
            raise InvalidParameter(f"size: {size} is {name} {value}, but the request also says {parameters[name]}.")
    return meant
