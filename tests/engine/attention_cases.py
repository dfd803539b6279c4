"""Attention by its definition, token by token in float64, and packed clips to hold kernels against it."""

from __future__ import annotations

import torch

from engine.local_attention import query_blocks
from engine.model.stream import ItemShape
from hhray.geometry import LatentGrid

# three frames see different things with a window of 1; the second clip is shorter than most windows
ITEMS = (ItemShape(LatentGrid(6, 4, 6), 5, 3), ItemShape(LatentGrid(2, 2, 4), 1, 4))


def random_heads(tokens, dtype=torch.float32, heads=(4, 2), keys=None, device="cpu"):
    """Normal q [tokens, H, 16], k and v [keys, K, 16]."""
    generator = torch.Generator().manual_seed(4)
    shapes = ((tokens, heads[0]), (keys or tokens, heads[1]), (keys or tokens, heads[1]))
    return [torch.randn(*shape, 16, generator=generator).to(device, dtype) for shape in shapes]


def visible(items, window):
    """[S, S]: whether a query (row) sees a key: the rule, written out token by token. No window: all of its clip."""
    item_of, frame_of = [], []
    for index, item in enumerate(items):
        video = [frame for frame in range(item.grid.frames) for _ in range(item.grid.tokens_per_frame)]
        frame_of += video + [None] * (item.num_tokens - len(video))
        item_of += [index] * item.num_tokens
    tokens = range(len(item_of))

    def sees(q, k):
        far = window is not None and None not in (frame_of[q], frame_of[k]) and abs(frame_of[q] - frame_of[k]) > window
        return item_of[q] == item_of[k] and not far

    return torch.tensor([[sees(q, k) for k in tokens] for q in tokens])


def masked_softmax(q, k, v, mask):
    """Float64 [s, H, D] of queries [s, H, D] over keys and values [S, K, D] where mask [s, S] lets them see."""
    q, k, v = (x.double().cpu() for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[2] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~mask, float("-inf")).softmax(2), v)


def whole(items, window):
    """The blocks of one rank that holds the stream of `items`."""
    return query_blocks(items, range(sum(item.num_tokens for item in items)), window)
