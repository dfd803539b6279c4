"""The transformer over a batch of clips of one shape, the way training needs it: all clips' tokens of a segment side by
side, so that each linear is one product, and attention as one batched call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.coordinates import CoordinateStyle, item_coordinates, rotary_tables
from engine.model.dit import AudioVideoTransformer
from engine.model.stream import ItemShape, Run


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """`parts` are the tokens of each segment of `shape` in its order: float32 [B, n, channels]."""

    shape: ItemShape
    parts: tuple[Tensor, ...]

    @property
    def size(self) -> int:
        return len(self.parts[0])


class PackedNetwork:
    """Calls the network on packed batches; rotary tables are kept for shapes that were seen."""

    def __init__(self, model: AudioVideoTransformer) -> None:
        self.model = model
        self._tables: dict[tuple[ItemShape, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, batch: PackedBatch) -> list[Tensor]:
        """Velocities of the segments with an output: video float32 [B, V, 192] in OUT order, audio [B, A, 64]."""
        size, segments = batch.size, batch.shape.segments
        lengths = [segment.num_tokens for segment in segments]
        runs = [
            Run(0, index, segment.modality, 0, size * length, segment.output)
            for index, (segment, length) in enumerate(zip(segments, lengths, strict=True))
        ]
        attention = _Attention(size, lengths)
        tokens = [part.flatten(0, 1) for part in batch.parts]
        outputs = self.model(tokens, runs, self._rotary(batch), [attention] * self.model.size.num_layers)
        return [torch.unflatten(output, 0, (size, -1)) for output in outputs]

    def _rotary(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        key = batch.shape, batch.size
        if key not in self._tables:
            bands = self.model.adapter.rope.bands
            tables = rotary_tables(item_coordinates(batch.shape, CoordinateStyle.V2).to(bands.device), bands)
            lengths = [segment.num_tokens for segment in batch.shape.segments]
            cosines, sines = (
                torch.cat([part.repeat(batch.size, 1) for part in torch.split(table, lengths)]) for table in tables
            )
            self._tables[key] = cosines, sines
        return self._tables[key]


class _Attention:
    """Softmax attention of each clip's tokens over its own; float32, which the CPU does faster than bfloat16."""

    def __init__(self, size: int, lengths: Sequence[int]) -> None:
        self._size, self._lengths = size, lengths

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self._by_clip(one) for one in (q, k, v))
        device = q.device.type
        with torch.autocast(device, enabled=device != "cpu"):
            mixed = F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1])
        parts = torch.split(mixed.transpose(1, 2), list(self._lengths), dim=1)
        return torch.cat([part.flatten(0, 1) for part in parts])

    def _by_clip(self, x: Tensor) -> Tensor:
        """[B * n of every segment, H, D] -> [B, H, S, D]."""
        x = x.float() if x.device.type == "cpu" else x
        parts = torch.split(x, [self._size * length for length in self._lengths])
        return torch.cat([torch.unflatten(part, 0, (self._size, -1)) for part in parts], dim=1).transpose(1, 2)
