"""From what a client wrote to the text the model reads. Pure, but for the operator's own rewriter.

The open weights were trained on a paragraph about the scene, one that begins "Dialogue:" and one that begins
"Background Sound:" (model specification 4.1). A prompt that needs neither is passed on as it is, byte for byte.
Pictures are named in one form, `[Image N]`, numbered as the reference images of the request.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable

from hhray.errors import ConfigError, InvalidParameter
from hhray.request import ClipRequest, Language, MediaType, Mode

_logger = logging.getLogger(__name__)

Rewriter = Callable[[str], str]

# The quantifiers never give back what they took, so that no text makes the search slow. A word ends where ASCII letters
# do: Chinese is written without spaces, and "character1跑" names character 1.
_TOKEN = re.compile(r"\[\s*+image\s*+([0-9]++)\s*+\]|(?<![a-z0-9_])character([0-9]++)(?![a-z0-9_])", re.IGNORECASE)
_DIALOGUE = re.compile(r"^[ \t]*+dialogue[ \t]*+[:：]", re.IGNORECASE | re.MULTILINE)  # noqa: RUF001 - as Chinese has it
_BACKGROUND = re.compile(r"^[ \t]*+background[ \t]++sounds?[ \t]*+[:：]", re.IGNORECASE | re.MULTILINE)  # noqa: RUF001
_ANY_BACKGROUND = "Background Sound:\nThe natural sound of the scene."
_SHOWN_DIGITS = 12


def bind_references(prompt: str, count: int) -> str:
    """The prompt with each name of a reference image written as `[Image N]`.

    Read as such: `[Image 2]`, `[image2]`, `[ IMAGE 02 ]`, `character2`.

    Raises:
        InvalidParameter: N is not within 1..`count`; the sentence names the token and the count.
    """

    def bound(match: re.Match[str]) -> str:
        digits = (match[1] or match[2]).lstrip("0") or "0"
        if len(digits) > len(str(count)) or not 1 <= int(digits) <= count:
            raise InvalidParameter(f"input.prompt: {_unknown(match, count)}")
        return f"[Image {digits}]"

    return _TOKEN.sub(bound, prompt)


def model_prompt(prompt: str, language: Language | None, dialogue: str) -> str:
    """The prompt with its dialogue and background paragraphs; unchanged without `language` and `dialogue`.

    A paragraph the client wrote himself (a line that begins with "Dialogue:" or "Background Sound:") is kept, and none
    is added beside it. The words of `dialogue` become one line.
    """
    words = " ".join(dialogue.split())
    if language is None and not words:
        return prompt
    own_sound = _BACKGROUND.search(prompt)
    scene = prompt[: own_sound.start()] if own_sound else prompt
    sound = prompt[own_sound.start() :] if own_sound else _ANY_BACKGROUND
    speech = "" if _DIALOGUE.search(prompt) else f"Dialogue:\n{_speech(language, words)}"
    return "\n\n".join(paragraph for paragraph in (scene.rstrip(), speech, sound) if paragraph)


def bound_prompt(request: ClipRequest) -> str:
    """The client's prompt, its references bound where the mode has any (r2v, video-edit).

    Raises:
        InvalidParameter: it names a picture that is not there.
    """
    if request.mode not in (Mode.R2V, Mode.VIDEO_EDIT):
        return request.prompt
    return bind_references(request.prompt, sum(item.type is MediaType.REFERENCE_IMAGE for item in request.media))


def model_text(request: ClipRequest, rewriter: Rewriter | None = None) -> str:
    """The text the model reads for a request: references bound, then rewritten, then with its paragraphs.

    Raises:
        InvalidParameter: the prompt names a picture that is not there; refused at create already.
    """
    return model_prompt(rewritten(bound_prompt(request), rewriter), request.language, request.dialogue)


def rewritten(prompt: str, rewriter: Rewriter | None) -> str:
    """What the rewriter makes of a prompt; the prompt itself without one, or when it fails or returns no text."""
    if rewriter is None:
        return prompt
    try:
        text: object = rewriter(prompt)
    except Exception as error:  # noqa: BLE001 - an operator's code must not fail a client's clip
        _logger.warning("the prompt rewriter failed (%s); the prompt is used as it is", type(error).__name__)
        return prompt
    if not isinstance(text, str) or not text.strip():
        _logger.warning("the prompt rewriter returned no text; the prompt is used as it is")
        return prompt
    return text


def load_rewriter(spec: str) -> Rewriter | None:
    """The function an operator names as "package.module:function"; None for "".

    Raises:
        ConfigError: it cannot be imported or called.
    """
    if not spec:
        return None
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"engine.prompt_rewriter: expected package.module:function, got {spec!r}")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigError(f"engine.prompt_rewriter: cannot import {spec!r}: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise ConfigError(f"engine.prompt_rewriter: {spec!r} cannot be called; expected a function from text to text")
    rewriter: Rewriter = function
    return rewriter


def _speech(language: Language | None, words: str) -> str:
    if not words:
        return f"Any speech is in {language}."
    return f'The speaker says in {language}: "{words}"' if language else f'The speaker says: "{words}"'


def _unknown(match: re.Match[str], count: int) -> str:
    number = (match[1] or match[2])[:_SHOWN_DIGITS]
    token = f"[Image {number}]" if match[1] else f"character{number}"
    if count == 0:
        return f"{token} names a reference image, but there is none; expected no such token, or images for them."
    return f"{token} names no picture; expected a number from 1 to {count}, the number of reference images."
