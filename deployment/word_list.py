"""An example of a moderation check: prompts that hold a word of a list are refused; files and frames pass.

A word stands for itself, whole, in any case and any width of letters, with any white space between its parts. Scripts
without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have no word borders, so their words are
found wherever they stand. It is an example: it knows no synonyms, no look-alike letters and no context.

    moderation: {check: "deployment.word_list:WordList", options: {file: "/etc/hhray/words.txt"}}
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployment.moderation import Verdict
from hhray.errors import ConfigError
from hhray.request import MediaType

# First and last code point of scripts that put no spaces between words, and of the marks they use.
WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK
    (0xF900, 0xFAFF),  # CJK compatibility
    (0x20000, 0x323AF),  # CJK extensions B to H
)


class WordList:
    """Words of a UTF-8 file, one a line; empty lines and lines that begin with # are left out.

    Raises:
        ConfigError: the file cannot be read or holds no word.
    """

    def __init__(self, file: str) -> None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"moderation.options.file: {file!r} cannot be read as UTF-8 text: {error}") from error
        words = {folded(line) for line in lines if not line.lstrip().startswith("#")} - {""}
        if not words:
            raise ConfigError(f"moderation.options.file: {file!r} holds no word; expected one a line")
        self._by_first: dict[str, list[str]] = defaultdict(list)
        for word in sorted(words):
            self._by_first[word[0]].append(word)

    def check_text(self, text: str) -> Verdict:
        """Refused if a word of the list stands in the text."""
        plain = folded(text)
        found = any(
            plain.startswith(word, at) and _stands_alone(plain, at, at + len(word))
            for at, first in enumerate(plain)
            for word in self._by_first.get(first, ())
        )
        return Verdict.REFUSED if found else Verdict.PASSED

    def check_file(self, path: Path, kind: MediaType) -> Verdict:  # noqa: ARG002 - the protocol's
        """Passed: a list of words sees no pictures."""
        return Verdict.PASSED

    def check_frames(self, frames: Sequence[NDArray[np.uint8]]) -> Verdict:  # noqa: ARG002 - the protocol's
        """Passed, as `check_file`."""
        return Verdict.PASSED


def folded(text: str) -> str:
    """Text without what only changes its look: compatibility forms, case, invisible characters, kinds of space."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    return " ".join(seen.split())


def _stands_alone(text: str, start: int, stop: int) -> bool:
    """Whether no letter of a script with word borders goes on beyond either end."""
    before = start > 0 and _joins(text[start]) and _joins(text[start - 1])
    after = stop < len(text) and _joins(text[stop - 1]) and _joins(text[stop])
    return not (before or after)


def _joins(character: str) -> bool:
    """Whether it makes one word with a neighbour that does, too: a letter, digit or mark, in a script with spaces."""
    point = ord(character)
    if any(first <= point <= last for first, last in WITHOUT_SPACES):
        return False
    return unicodedata.category(character)[0] in "LNM" or character == "_"
