"""Campaigns: one script fanned out over ratios, seeds, languages, style words and more. Pure functions.

A script is a line of a JSONL file. Each list in it is one direction of the fan; the product of all lists is the plan:

    {"name": "spring", "prompt": "a {style} horse in the rain", "style": ["calm", "wild"], "ratio": ["16:9", "9:16"]}
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hhray.client_media import default_model
from hhray.errors import InvalidParameter

# What may be a list, in the order in which it is fanned out and named in files.
FANNED = ("model", "style", "language", "dialogue", "resolution", "ratio", "duration", "seed")
OPTIONS = ("language", "dialogue", "resolution", "ratio", "duration", "seed")
FIXED = ("image", "references", "video", "audio_setting", "watermark", "deadline_seconds", "strict")
MOST_VARIANTS = 10_000
_FIELDS = frozenset({"name", "prompt", *FANNED, *FIXED})
_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class Variant:
    """One clip of a campaign. `chosen` is what the fan chose for it; `name` is a safe file name without its ending, the
    same in every run; `key` is the Idempotency-Key of its create, the same for the same body only.
    """

    name: str
    key: str
    model: str
    prompt: str
    options: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)


def read_campaign(text: str, salt: str) -> list[Variant]:
    """All variants of a JSONL file's scripts. `salt` sets one campaign's keys apart from another's.

    Raises:
        InvalidParameter: a line is no script; the message begins with its number.
    """
    variants: list[Variant] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                variants += expand(_object(line), salt, len(variants))
            except InvalidParameter as error:
                raise InvalidParameter(f"line {number}: {error.message}") from error
        if len(variants) > MOST_VARIANTS:
            raise InvalidParameter(f"line {number}: more than {MOST_VARIANTS} clips; split the file")
    if not variants:
        raise InvalidParameter("the file has no script; expected one JSON object a line")
    return variants


def expand(script: dict[str, Any], salt: str, first: int) -> Iterator[Variant]:
    """The variants of one script, numbered from `first` + 1.

    Raises:
        InvalidParameter: a field is unknown or of the wrong type, or a list is empty.
    """
    prompt, fixed = _checked(script)
    lists = {name: _choices(name, script[name]) for name in FANNED if name in script}
    if ("{style}" in prompt) != ("style" in lists):
        raise InvalidParameter("style and a prompt with {style} go together; expected both or neither")
    if (count := _product(lists)) > MOST_VARIANTS:
        raise InvalidParameter(f"{count} clips; expected at most {MOST_VARIANTS}")
    title = str(script.get("name", "")) or prompt
    model = default_model(fixed.get("image"), fixed.get("references", ()), fixed.get("video", ""))
    for offset, values in enumerate(itertools.product(*lists.values()), 1):
        chosen = dict(zip(lists, values, strict=True))
        body: dict[str, Any] = {
            "model": chosen.get("model", model),
            "prompt": prompt.replace("{style}", str(chosen.get("style", ""))),
            "options": fixed | {name: chosen[name] for name in OPTIONS if name in chosen},
        }
        several = {name: value for name, value in chosen.items() if len(lists[name]) > 1}
        name = safe_name(first + offset, title, several.values())
        yield Variant(name, _key(salt, name, body), **body, chosen=chosen)


def safe_name(number: int, title: str, choices: Any) -> str:  # noqa: ANN401 - values of JSON
    """A file name of letters, digits, `-` and `_`, whatever the script says; unique by its number."""
    words = "-".join(str(part) for part in (title[:_NAME_CHARS], *choices))
    plain = re.sub(r"[^A-Za-z0-9]+", "-", words.replace(":", "x")).strip("-").lower()
    return f"{number:04d}-{plain[: 2 * _NAME_CHARS]}".rstrip("-")


def local_files(variant: Variant) -> list[Path]:
    """The files of this machine that a variant is made from."""
    options = variant.options
    given = [options.get("image"), options.get("video"), *options.get("references", ())]
    return [Path(item) for item in given if item and "://" not in str(item) and not str(item).startswith("data:")]


def _object(line: str) -> dict[str, Any]:
    try:
        script = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"expected a JSON object, but it is no JSON ({str(error)[:80]})") from error
    if not isinstance(script, dict):
        raise InvalidParameter("expected a JSON object")
    return script


def _checked(script: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The prompt and what is the same for all variants."""
    if unknown := script.keys() - _FIELDS:
        raise InvalidParameter(f"unknown field {min(unknown)!r}; expected some of {', '.join(sorted(_FIELDS))}")
    prompt = script.get("prompt", "")
    if not isinstance(prompt, str):
        raise InvalidParameter("prompt: expected a text")
    fixed = {name: script[name] for name in FIXED if name in script}
    if not all(isinstance(fixed.get(name, ""), str) for name in ("image", "video")):
        raise InvalidParameter("image, video: expected a file or URL each")
    references = fixed.get("references", [])
    if not isinstance(references, list) or not all(isinstance(one, str) for one in references):
        raise InvalidParameter("references: expected a list of files and URLs")
    return prompt, fixed


def _choices(name: str, value: object) -> list[object]:
    """The values of one direction; a single one is a list of one."""
    values = value if isinstance(value, list) else [value]
    kind = int if name in ("duration", "seed") else str
    if not values or any(not isinstance(one, kind) or isinstance(one, bool) for one in values):
        raise InvalidParameter(f"{name}: expected {'integers' if kind is int else 'texts'}, one or a list of them")
    if len(set(values)) < len(values):
        raise InvalidParameter(f"{name}: the same value twice; expected each once")
    return values


def _product(lists: dict[str, list[object]]) -> int:
    count = 1
    for values in lists.values():
        count *= len(values)
    return count


def _key(salt: str, name: str, body: dict[str, Any]) -> str:
    written = json.dumps([salt, name, body], sort_keys=True)
    return f"batch-{hashlib.sha256(written.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
