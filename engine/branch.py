"""One forward pass of a denoising step, as one rank makes it: its slice of a token stream, and whom it talks to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attention import Kernel, attend_blocks
from engine.exchange import Exchange, Link
from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle, item_coordinates, rotary_tables
from engine.model.dit import AudioVideoTransformer
from engine.model.stream import Run, TokenStream
from hhray.parallel_layout import ParallelLayout


@dataclass(frozen=True, slots=True)
class Branch:
    """A batch with one text for each clip, and this rank's slice of its stream.

    `rotary` are the cosines and sines of the slice's positions, each [s, 3 head_dim / 8].
    """

    texts: tuple[Tensor, ...]
    stream: TokenStream
    runs: tuple[Run, ...]
    rotary: tuple[Tensor, Tensor]
    exchange: Exchange


def split_branch(
    model: AudioVideoTransformer,
    stream: TokenStream,
    texts: Sequence[Tensor],
    style: CoordinateStyle,
    rule: LocalRule | None,
    link: Link,
    layout: ParallelLayout | None,
    kernel: Kernel = attend_blocks,
) -> Branch:
    """The slice of `stream` that `link`'s rank holds, on the model's device; no layout: the one that moves least.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    exchange = Exchange(stream, model.size, link, rule, layout, kernel)
    sizes, bands = stream.slice_sizes(link.world_size), model.adapter.rope.bands
    begin = sum(sizes[: link.rank])
    coordinates = torch.cat([item_coordinates(item, style) for item in stream.items])
    rotary = rotary_tables(coordinates[begin : begin + sizes[link.rank]].to(bands.device), bands)
    return Branch(tuple(texts), stream, stream.slice_for(link.rank, link.world_size), rotary, exchange)
