"""Local attention against a masked softmax in float64."""

from __future__ import annotations

import pytest
import torch
from attention_cases import ITEMS, masked_softmax, random_heads, visible, whole

from engine.attention import attend_blocks
from engine.local_attention import LOCAL_1080P, LocalRule, attend_local, frame_blocks
from engine.model.stream import ItemShape
from hhray.geometry import LatentGrid


@pytest.mark.parametrize("window", [0, 1, 3])
def test_one_softmax_over_near_frames_audio_and_text(window):
    q, k, v = random_heads(sum(item.num_tokens for item in ITEMS))
    mixed = attend_local(q, k, v, ITEMS, window)
    expected = masked_softmax(q, k, v, visible(ITEMS, window))
    torch.testing.assert_close(mixed.double(), expected, rtol=0, atol=1e-5)
    everything = attend_blocks(q, k, v, whole(ITEMS, None))
    assert (mixed - everything).abs().max() > 1e-2


def test_probabilities_of_bfloat16_inputs_are_not_rounded():
    q, k, v = random_heads(sum(item.num_tokens for item in ITEMS), torch.bfloat16)
    mixed = attend_local(q, k, v, ITEMS, 1)
    expected = masked_softmax(q, k, v, visible(ITEMS, 1))
    assert mixed.dtype is torch.bfloat16
    torch.testing.assert_close(mixed.double(), expected.bfloat16().double(), rtol=0.01, atol=1e-4)


def test_twelve_frames_see_everything_with_the_published_window():
    items = (ItemShape(LatentGrid(12, 2, 4), 5, 3),)
    q, k, v = random_heads(items[0].num_tokens)
    local = attend_local(q, k, v, items, LOCAL_1080P.window)
    assert torch.equal(local, attend_blocks(q, k, v, whole(items, None)))
    longer = (ItemShape(LatentGrid(13, 2, 4), 5, 3),)
    q, k, v = random_heads(longer[0].num_tokens)
    difference = attend_local(q, k, v, longer, 11) - attend_blocks(q, k, v, whole(longer, None))
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
