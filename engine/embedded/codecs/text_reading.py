"""How the small text encoder reads a prompt: as words and Chinese or Japanese characters, each known by its parts.

A word's parts are itself and each three letters of it, so that misspelt and unknown words are still like others; those
of a character are itself and its pairs with its neighbours. A part is the number of a row of a table of fixed size: no
vocabulary has to list it, and a few parts share a row.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from functools import lru_cache

ROWS = 6144  # of the table; row 0 is nothing
MAX_PARTS = 16
FIRST_CHARACTERS, LAST_CHARACTERS = 400, 160  # a prompt's beginning, and its end: there its dialogue stands
FIRST_WORDS, LAST_WORDS = 140, 60
LONGEST = 24  # letters of a word that are read

_IDEOGRAPHS = "\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W\d_{_IDEOGRAPHS}]+|\d|[^\w\s]")
_IDEOGRAPH = re.compile(rf"[{_IDEOGRAPHS}]")


def read(prompt: str) -> list[tuple[int, ...]]:
    """The parts of each word of a prompt: 1 to 200 words of 1 to 16 parts, numbers from 1 to 8191."""
    words = _WORD.findall(plain(prompt)) or [" "]
    if len(words) > FIRST_WORDS + LAST_WORDS:
        words = words[:FIRST_WORDS] + words[-LAST_WORDS:]
    around = zip(["", *words[:-1]], words, [*words[1:], ""], strict=True)
    return [_character(*three) if _IDEOGRAPH.match(three[1]) else _parts(three[1]) for three in around]


def plain(prompt: str) -> str:
    """The text without case and compatibility forms; of a long one the beginning and the end. Each run of white space
    and of what cannot be printed is one space."""
    if len(prompt) > FIRST_CHARACTERS + LAST_CHARACTERS:
        prompt = f"{prompt[:FIRST_CHARACTERS]} {prompt[-LAST_CHARACTERS:]}"
    folded = unicodedata.normalize("NFKC", prompt).casefold()
    return " ".join("".join(char if char.isprintable() else " " for char in folded).split())


@lru_cache(maxsize=4096)
def _parts(word: str) -> tuple[int, ...]:
    marked = f"<{word[:LONGEST]}>"
    threes = [marked[start : start + 3] for start in range(len(marked) - 2)] if len(marked) > 3 else []
    return tuple(_row(part) for part in [f"{marked}!", *threes][:MAX_PARTS])


@lru_cache(maxsize=16384)
def _character(before: str, word: str, after: str) -> tuple[int, ...]:
    pairs = [before + word] * bool(_IDEOGRAPH.match(before)) + [word + after] * bool(_IDEOGRAPH.match(after))
    return tuple(_row(part) for part in [word, *pairs])


def _row(part: str) -> int:
    return zlib.crc32(part.encode("utf-8", "replace")) % (ROWS - 1) + 1
