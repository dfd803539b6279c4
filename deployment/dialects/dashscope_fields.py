"""DashScope dialect, inwards: one field at a time. Each error begins with the field's path. Pure functions."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, TypeVar

from deployment.dialects.dashscope_models import WireModel
from deployment.dialects.dashscope_query import shown
from hhray.errors import InvalidParameter
from hhray.geometry import Resolution
from hhray.request import Language

MAX_PROMPT_WEIGHT = 5000
MAX_DIALOGUE_CHARS = 2000
# Ideographs, which count twice: unified (with extensions), compatibility, and the planes reserved for more.
_CJK_CHARACTER = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LANGUAGES = {language.value.lower(): language for language in Language}

Choice = TypeVar("Choice", bound=StrEnum)


def read_prompt(given: dict[str, Any], *, required: bool) -> str:
    """`input.prompt`, cut at the limit without a word, as the hosted API does; "" where it may be absent."""
    value = given.get("prompt")
    if value is None and not required:
        return ""
    if value is None:
        raise InvalidParameter("Field required: input.prompt. Expected a text that describes the clip.")
    prompt = _text("input.prompt", value)
    if required and not prompt.strip():
        raise InvalidParameter("input.prompt: expected a text that describes the clip, but it is empty.")
    return _truncated(prompt)


def read_dialogue(given: dict[str, Any]) -> str:
    """`input.dialogue`: the words that are spoken; "" when absent."""
    value = given.get("dialogue")
    if value is None:
        return ""
    dialogue = _text("input.dialogue", value)
    if len(dialogue) > MAX_DIALOGUE_CHARS:
        raise InvalidParameter(
            f"input.dialogue: expected at most {MAX_DIALOGUE_CHARS} characters, got {len(dialogue)}."
        )
    return dialogue


def read_language(parameters: dict[str, Any]) -> Language | None:
    """`parameters.language`, in any case of letters; None when absent."""
    value = parameters.get("language")
    if value is None:
        return None
    language = _LANGUAGES.get(value.lower()) if isinstance(value, str) else None
    if language is None:
        raise InvalidParameter(f"parameters.language: expected one of {', '.join(Language)}, got {shown(value)}.")
    return language


def read_resolution(parameters: dict[str, Any], model: WireModel) -> Resolution:
    """`parameters.resolution`, within the model's menu."""
    value = parameters.get("resolution")
    if value is None:
        return Resolution.P1080
    if not isinstance(value, str) or value not in list(model.resolutions):
        menu = ", ".join(model.resolutions)
        raise InvalidParameter(f"parameters.resolution: expected one of {menu} for {model.name}, got {shown(value)}.")
    return Resolution(value)


def read_choice(name: str, parameters: dict[str, Any], default: Choice) -> Choice:
    """A parameter that names a member of the default's enumeration."""
    value, menu = parameters.get(name), type(default)
    if value is None:
        return default
    if not isinstance(value, str) or value not in list(menu):
        raise InvalidParameter(f"parameters.{name}: expected one of {', '.join(menu)}, got {shown(value)}.")
    return menu(value)


def read_integer(name: str, parameters: dict[str, Any], least: int, most: int, default: int) -> int:
    """A parameter from `least` to `most`; neither text nor a float nor a boolean passes for an integer."""
    value = parameters.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameter(f"parameters.{name}: expected an integer from {least} to {most}, got {shown(value)}.")
    return value


def read_boolean(name: str, parameters: dict[str, Any], *, default: bool) -> bool:
    """A parameter that is true or false."""
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidParameter(f"parameters.{name}: expected true or false, got {shown(value)}.")
    return value


def _text(path: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidParameter(f"{path}: expected a string, got {shown(value)}.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidParameter(f"{path}: expected text without NUL characters and lone surrogates.")
    return value


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
