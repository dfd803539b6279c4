"""The memory plan's formula of what an exchange takes, against what exchanges allocate; and what may be chosen."""

from __future__ import annotations

import pytest
import torch

from engine.activation_meter import ActivationMeter
from engine.exchange import DryLink, cheapest_layout
from engine.exchange.layer import LayerExchange
from engine.exchange.plan import layer_plan
from engine.model.stream import ItemShape, TokenStream
from hhray.geometry import ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.memory_exchange import eligible_layouts, exchange_bytes
from hhray.model_size import ModelSize, preset
from hhray.parallel_layout import possible_layouts

FULL = preset("15b")
SMALL = ModelSize("grouped", 1, 0, 8, 16, 8, 2, 8)


def only_shapes(q, k, v, blocks):
    return torch.empty_like(q)


def allocated(stream, size, layout, rank, window):
    """Bytes of the tensors that one layer's exchange of a rank makes, at the moment there are most."""
    plan = layer_plan(stream, layout, window)
    exchange = LayerExchange(plan, DryLink(rank, layout.num_ranks), only_shapes)
    q, k, v = (
        torch.empty(plan.tokens[rank], heads, size.head_dim, dtype=torch.bfloat16, device="meta")
        for heads in (size.num_heads, size.num_kv_heads, size.num_kv_heads)
    )
    with ActivationMeter([q, k, v]) as meter:
        exchange(q, k, v)
    return meter.peak_bytes


def stream_of(num_tokens):
    """So many tokens: video of 8 tokens a frame, one audio token, and text."""
    frames = (num_tokens - 3) // 8
    return TokenStream((ItemShape(LatentGrid(frames, 4, 8), 1, num_tokens - 8 * frames - 1),))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 6, 8, 16])
def test_the_formula_is_what_an_exchange_allocates(num_ranks):
    stream = stream_of(48 * num_ranks)
    for layout in possible_layouts(num_ranks, SMALL):
        most = max(allocated(stream, SMALL, layout, rank, None) for rank in range(num_ranks))
        assert exchange_bytes(SMALL, stream.num_tokens, layout) == most


@pytest.mark.parametrize("window", [None, 0, 2])
@pytest.mark.parametrize("num_ranks", [2, 3, 4, 8])
def test_uneven_slices_and_halos_take_no_more(num_ranks, window):
    stream = stream_of(48 * num_ranks + 1)
    for layout in possible_layouts(num_ranks, SMALL):
        most = max(allocated(stream, SMALL, layout, rank, window) for rank in range(num_ranks))
        assert 0.5 * exchange_bytes(SMALL, stream.num_tokens, layout) < most
        assert most <= exchange_bytes(SMALL, stream.num_tokens, layout)


@pytest.mark.parametrize("seconds", [3, 5, 10, 15])
@pytest.mark.parametrize("num_ranks", [2, 3, 4, 8, 16])
def test_the_layout_that_is_chosen_is_one_the_plan_counts(num_ranks, seconds):
    for tier in Resolution:
        geometry = ClipGeometry(tier, Ratio.R16_9, seconds)
        stream = TokenStream((ItemShape(geometry.run_grid, geometry.audio_latents, 320),))
        for window in (None, 11):
            assert cheapest_layout(stream, FULL, num_ranks, window) in eligible_layouts(FULL, num_ranks)


def test_fetched_keys_of_the_full_network_are_those_of_the_specification():
    (layout,) = eligible_layouts(FULL, 4)
    assert layout.gather == 4
    # keys and values of all tokens, sent and received: 2 x 269 MB at 65,728 tokens (specification 5.3)
    assert exchange_bytes(FULL, 65_728, layout) == 2 * 65_728 * 4096
