"""Local attention against a masked softmax in float64."""

from __future__ import annotations

import pytest
import torch

from engine.attention import attend
from engine.local_attention import LOCAL_1080P, LocalRule, attend_local, frame_blocks
from engine.model.stream import ItemShape
from hhray.geometry import LatentGrid

ITEMS = (ItemShape(LatentGrid(6, 4, 6), 5, 3), ItemShape(LatentGrid(2, 2, 4), 1, 4))


def random_heads(items, dtype=torch.float32):
    generator = torch.Generator().manual_seed(4)
    tokens = sum(item.num_tokens for item in items)
    return [torch.randn(tokens, heads, 16, generator=generator).to(dtype) for heads in (4, 2, 2)]


def visible(items, window):
    """[S, S]: whether a query (row) sees a key: the rule, written out token by token."""
    item_of, frame_of = [], []
    for index, item in enumerate(items):
        video = [frame for frame in range(item.grid.frames) for _ in range(item.grid.tokens_per_frame)]
        frame_of += video + [None] * (item.audio_latents + item.text_tokens)
        item_of += [index] * item.num_tokens
    tokens = range(len(item_of))

    def sees(q, k):
        near = frame_of[q] is None or frame_of[k] is None or abs(frame_of[q] - frame_of[k]) <= window
        return item_of[q] == item_of[k] and near

    return torch.tensor([[sees(q, k) for k in tokens] for q in tokens])


def masked_softmax(q, k, v, mask):
    k, v = (x.double().repeat_interleave(2, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q.double(), k) / 4
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~mask, float("-inf")).softmax(2), v)


@pytest.mark.parametrize("window", [0, 1, 3])
def test_one_softmax_over_near_frames_audio_and_text(window):
    q, k, v = random_heads(ITEMS)
    mixed = attend_local(q, k, v, ITEMS, window)
    expected = masked_softmax(q, k, v, visible(ITEMS, window))
    torch.testing.assert_close(mixed.double(), expected, rtol=0, atol=1e-5)
    everything = attend(q, k, v, [item.num_tokens for item in ITEMS])
    assert (mixed - everything).abs().max() > 1e-2


def test_probabilities_of_bfloat16_inputs_are_not_rounded():
    q, k, v = random_heads(ITEMS, torch.bfloat16)
    mixed = attend_local(q, k, v, ITEMS, 1)
    expected = masked_softmax(q, k, v, visible(ITEMS, 1))
    assert mixed.dtype is torch.bfloat16
    torch.testing.assert_close(mixed.double(), expected.bfloat16().double(), rtol=0.01, atol=1e-4)


def test_twelve_frames_see_everything_with_the_published_window():
    items = (ItemShape(LatentGrid(12, 2, 4), 5, 3),)
    q, k, v = random_heads(items)
    local = attend_local(q, k, v, items, LOCAL_1080P.window)
    assert torch.equal(local, attend(q, k, v, [items[0].num_tokens]))
    longer = (ItemShape(LatentGrid(13, 2, 4), 5, 3),)
    q, k, v = random_heads(longer)
    difference = attend_local(q, k, v, longer, 11) - attend(q, k, v, [longer[0].num_tokens])
    assert difference.abs().max() > 1e-3


def test_frames_that_see_the_same_share_a_block():
    blocks = frame_blocks(5, 3)
    assert [(block.frames, block.seen) for block in blocks] == [
        (range(1), range(4)),
        (range(1, 4), range(5)),
        (range(4, 5), range(1, 5)),
    ]


def test_the_published_rule_leaves_eight_layers_whole():
    assert LOCAL_1080P.window == 11
    assert sorted(set(range(40)) - LOCAL_1080P.layers) == [3, 7, 11, 15, 19, 23, 27, 31]


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="must be 0 or more"):
        LocalRule(-1, frozenset())
