"""Stand-in for the text encoder: features are looked up in fixed random tables by the bytes of each word.

Words are cut into pieces of up to 8 UTF-8 bytes, one token each, so that every language gets a sensible number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from engine.codecs.base import MAX_TEXT_TOKENS

PIECE_BYTES = 8
SEED = 512


class BytewiseTextEncoder:
    """See the module's docstring; satisfies TextEncoder."""

    def __init__(self, channels: int) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self._tables = torch.randn(PIECE_BYTES, 256, channels, generator=generator)
        self._ends = torch.randn(2, channels, generator=generator)
        position = torch.arange(MAX_TEXT_TOKENS)[:, None] / 10 ** (4 * torch.arange(channels) / channels)
        self._positions = torch.sin(position + math.pi / 2 * (torch.arange(channels) % 2))

    def encode(self, prompt: str) -> Tensor:
        """Features [X, channels]: a start token, the prompt's pieces as far as they fit, an end token."""
        rows = [self._ends[0]]
        rows += [self._feature(piece) for piece in islice(_pieces(prompt), MAX_TEXT_TOKENS - 2)]
        rows.append(self._ends[1])
        return torch.stack(rows) + self._positions[: len(rows)]

    def _feature(self, piece: bytes) -> Tensor:
        places = torch.arange(len(piece))
        return self._tables[places, list(piece)].sum(0) / math.sqrt(len(piece))


def _pieces(prompt: str) -> Iterator[bytes]:
    for word in prompt.split():
        encoded = word.encode("utf-8", "replace")
        for start in range(0, len(encoded), PIECE_BYTES):
            yield encoded[start : start + PIECE_BYTES]
