"""What each exchange sends: by hand, token by token, and for the full network at 1080p; and which one is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from engine.exchange import cheapest_layout, layer_bytes, step_bytes
from engine.exchange.cost import busiest_rank_bytes
from engine.exchange.dry import counted_layer_bytes
from engine.exchange.plan import layer_plan
from engine.local_attention import LOCAL_1080P
from engine.model.stream import ItemShape, Modality, SegmentShape, TokenStream
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, LatentGrid, Ratio, Resolution
from hhray.model_size import ModelSize, preset
from hhray.parallel_layout import ParallelLayout, possible_layouts

FULL = preset("15b")
TEXT_TOKENS = 320
REFERENCE = SegmentShape(Modality.VIDEO, (1, 2, 3), (9, 0, 0))
STREAMS = (
    TokenStream((ItemShape(LatentGrid(7, 4, 6), 3, 2),)),
    TokenStream((ItemShape(LatentGrid(6, 2, 6), 2, 3, (REFERENCE,)), ItemShape(LatentGrid(9, 4, 4), 5, 2))),
)


def clip_of(seconds, reference_exact=False):
    """A 1080p clip of the full network."""
    geometry = ClipGeometry(Resolution.P1080, Ratio.R16_9, seconds, reference_exact)
    return TokenStream((ItemShape(geometry.run_grid, geometry.audio_latents, TEXT_TOKENS),))


def bounds_of(num_tokens, num_ranks):
    """Where each rank's slice begins, and where the last ends: the first ranks have a token more."""
    share, rest = divmod(num_tokens, num_ranks)
    return [rank * share + min(rank, rest) for rank in range(num_ranks + 1)]


def frames_and_items(stream):
    """Of each token its latent frame, -1 for all that is no video of the clip, and its item."""
    frames, items = [], []
    for index, item in enumerate(stream.items):
        frames.append(np.repeat(np.arange(item.grid.frames), item.grid.tokens_per_frame))
        frames.append(np.full(item.num_tokens - item.grid.num_tokens, -1))
        items.append(np.full(item.num_tokens, index))
    return np.concatenate(frames), np.concatenate(items)


def sees_any(frames, items, queries, window):
    """Of each token whether one of the slice `queries` sees it: the rule, said once more for whole frames."""
    if window is None:
        return np.isin(items, items[queries])
    seen = np.zeros(len(frames), bool)
    for frame, item in np.unique(np.stack([frames[queries], items[queries]]), axis=1).T:
        seen |= (items == item) & ((frame == -1) | (frames == -1) | (np.abs(frames - frame) <= window))
    return seen


def elements_sent(stream, size, ulysses, num_ranks, window):
    """Numbers each rank sends in a layer, each times head_dim, counted over tokens."""
    frames, items = frames_and_items(stream)
    bounds = bounds_of(len(frames), num_ranks)
    groups = [slice(bounds[g], bounds[g + ulysses]) for g in range(0, num_ranks, ulysses)]
    seen = [sees_any(frames, items, group, window) for group in groups]
    sent = []
    for rank in range(num_ranks):
        group, own = rank // ulysses, bounds[rank + 1] - bounds[rank]
        others = groups[group].stop - groups[group].start - own
        query, key = size.num_heads // ulysses, size.num_kv_heads // ulysses
        fetched = sum(seen[other][groups[group]].sum() for other in range(len(groups)) if other != group)
        sent.append(int(own * (ulysses - 1) * (query + 2 * key) + others * query + fetched * 2 * key))
    return sent


def test_the_byte_formula_on_numbers_small_enough_to_count_by_hand():
    size = ModelSize("hand", 3, 1, 8, 4, 2, 4, 8)
    stream = TokenStream((ItemShape(LatentGrid(1, 2, 4), 3, 2),))  # 2 video + 3 audio + 2 text: slices of 4 and 3
    # rank 0 holds 2 video and 2 audio tokens, rank 1 one audio and two text tokens
    outputs = (2 * 192 + 2 * 64) * 4, 64 * 4
    # 3 layers x (own tokens x 4 heads x 4 channels out + peer's tokens x 2 heads x 4 back) x 4 bytes
    heads = ParallelLayout(ulysses=2)
    assert step_bytes(stream, size, 0, 2, 4, layout=heads) == 3 * (4 * 4 * 4 + 3 * 2 * 4) * 4 + outputs[0]
    assert step_bytes(stream, size, 1, 2, 4, layout=heads) == 3 * (3 * 4 * 4 + 4 * 2 * 4) * 4 + outputs[1]
    # 3 layers x own tokens x 2 key and 2 value heads x 4 channels x 4 bytes: less
    assert step_bytes(stream, size, 0, 2, 4) == 3 * 4 * 4 * 4 * 4 + outputs[0]
    assert step_bytes(stream, size, 1, 2, 4) == 3 * 3 * 4 * 4 * 4 + outputs[1]
    assert step_bytes(stream, size, 0, 1, 4) == 0


def test_a_halo_small_enough_to_count_by_hand():
    size = ModelSize("hand", 3, 1, 8, 4, 2, 4, 8)
    stream = TokenStream((ItemShape(LatentGrid(6, 2, 4), 1, 2),))  # 6 frames of 2, then 3: slices of 5
    plan = layer_plan(stream, ParallelLayout(1, 3), 1)
    # ranks hold frames 0, 1 and half of 2; the other half, 3, 4; and 5, audio, text, whose queries see everything
    assert plan.seen == ((range(8), range(12, 15)), (range(2, 15),), (range(15),))
    to_first, to_second, to_third = (
        (0, 3, 3),
        (3, 0, 5),
        (5, 5, 0),
    )  # from each rank; 3: the half and one frame, or the rest
    rows = [sum(sent) for sent in zip(to_first, to_second, to_third, strict=True)]
    assert [layer_bytes(plan, size, rank, 1) for rank in range(3)] == [n * (2 + 2) * 4 for n in rows]


@pytest.mark.parametrize("window", [None, 0, 1, 3])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 6, 8, 16])
def test_formula_and_counter_agree_with_counting_token_by_token(stream, num_ranks, window):
    size = ModelSize("grouped", 1, 0, 8, 16, 8, 2, 8)
    busiest = []
    for layout in possible_layouts(num_ranks, size):
        plan = layer_plan(stream, layout, window)
        expected = [2 * 4 * n for n in elements_sent(stream, size, layout.ulysses, num_ranks, window)]
        assert [layer_bytes(plan, size, rank, 4) for rank in range(num_ranks)] == expected
        busiest.append(max(expected))
    chosen = layer_plan(stream, cheapest_layout(stream, size, num_ranks, window), window)
    assert busiest_rank_bytes(chosen, size, 4) == min(busiest)


@pytest.mark.parametrize(
    ("seconds", "ulysses", "gather"), [(5, (404, 303, 177), (135, 202, 236)), (15, (1182, 887, 517), (394, 591, 690))]
)
def test_a_layer_at_1080p_sends_the_megabytes_of_the_specification(seconds, ulysses, gather):
    for num_ranks, by_heads, by_keys in zip((2, 4, 8), ulysses, gather, strict=True):
        for layout, megabytes in ((ParallelLayout(num_ranks, 1), by_heads), (ParallelLayout(1, num_ranks), by_keys)):
            plan = layer_plan(clip_of(seconds, reference_exact=True), layout, None)
            assert round(busiest_rank_bytes(plan, FULL, 2) / 1e6) == megabytes


@pytest.mark.parametrize("seconds", [5, 15])
@pytest.mark.parametrize("num_ranks", [2, 4, 8])
def test_counted_bytes_of_the_full_network_are_the_least_of_all_exchanges(seconds, num_ranks):
    stream = clip_of(seconds)
    counted = counted_layer_bytes(stream, FULL, num_ranks, LOCAL_1080P)
    busiest = [max(layer) for layer in zip(*counted, strict=True)]
    least = {
        window: min(
            max(elements_sent(stream, FULL, ulysses, num_ranks, window)) * 128 * 2
            for ulysses in (1, 2, 4, 8)
            if num_ranks % ulysses == 0
        )
        for window in (None, 11)
    }
    assert busiest == [least[11 if layer in LOCAL_1080P.layers else None] for layer in range(40)]


@pytest.mark.parametrize(
    ("num_ranks", "seconds", "full", "local"),
    [
        (2, 5, (1, 2), (1, 2)),
        (4, 5, (1, 4), (1, 4)),
        (8, 5, (8, 1), (8, 1)),
        (2, 15, (1, 2), (1, 2)),
        (4, 15, (1, 4), (1, 4)),
        (8, 15, (8, 1), (1, 8)),
        (3, 5, (1, 3), (1, 3)),
        (16, 15, (8, 2), (1, 16)),
    ],
)
def test_the_cheapest_layout_of_the_full_network_at_1080p(num_ranks, seconds, full, local):
    for window, degrees in ((None, full), (11, local)):
        assert cheapest_layout(clip_of(seconds), FULL, num_ranks, window) == ParallelLayout(*degrees)


def test_of_equals_ulysses_is_chosen():
    size = ModelSize("even", 1, 0, 8, 2, 2, 4, 8)  # as many key heads as query heads, and two slices of 4 tokens
    stream = TokenStream((ItemShape(LatentGrid(1, 2, 6), 3, 2),))
    by_heads, by_keys = (layer_plan(stream, ParallelLayout(*degrees), None) for degrees in ((2, 1), (1, 2)))
    assert busiest_rank_bytes(by_heads, size, 2) == busiest_rank_bytes(by_keys, size, 2)
    assert cheapest_layout(stream, size, 2, None) == ParallelLayout(2, 1)


def test_a_given_layout_holds_in_every_layer():
    stream, layout = STREAMS[0], ParallelLayout(2, 2, halo=False)
    size = ModelSize("two", 2, 0, 8, 4, 4, 2, 8)
    rank_bytes = counted_layer_bytes(stream, size, 4, None, layout)
    plan = layer_plan(stream, layout, None)
    assert rank_bytes == [[layer_bytes(plan, size, rank, 2)] * 2 for rank in range(4)]


@pytest.mark.parametrize(
    ("layout", "message"),
    [(ParallelLayout(2, 1), "multiply to 3"), (ParallelLayout(3, 1), "8 key heads .* with a degree of 1$")],
)
def test_a_layout_that_does_not_fit_is_refused(layout, message):
    with pytest.raises(ConfigError, match=message):
        step_bytes(STREAMS[0], FULL, 0, 3, 2, layout=layout)


@pytest.mark.parametrize("degrees", [(0, 1), (1, 0), (-2, -1)])
def test_degrees_below_one_are_refused(degrees):
    with pytest.raises(ConfigError, match="must be 1 or more"):
        ParallelLayout(*degrees)
