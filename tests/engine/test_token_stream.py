"""How a packed stream of tokens is cut into slices, and where its tokens stand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.model.coordinates import CoordinateStyle, item_coordinates, rotary_tables, rotate
from engine.model.patch import patchify, unpatchify
from engine.model.stream import ItemShape, Modality, SegmentShape, TokenStream
from hhray.geometry import LatentGrid

BANDS = torch.tensor([1.0, 0.01])

conditions = st.builds(
    SegmentShape, st.sampled_from(Modality), st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
)
items = st.builds(
    ItemShape,
    st.builds(LatentGrid, st.integers(1, 5), st.sampled_from([2, 4, 6]), st.sampled_from([2, 4])),
    st.integers(1, 9),
    st.integers(2, 9),
    st.lists(conditions, max_size=3).map(tuple),
)


@given(st.lists(items, min_size=1, max_size=4), st.sampled_from([1, 2, 4, 8]))
def test_slices_cover_the_stream_once_and_in_order(shapes, world_size):
    stream = TokenStream(tuple(shapes))
    tokens = [
        (run.item, run.segment, run.modality, token)
        for rank in range(world_size)
        for run in stream.slice_for(rank, world_size)
        for token in range(run.rows.start, run.rows.stop)
    ]
    assert tokens == [
        (index, part, segment.modality, token)
        for index, item in enumerate(shapes)
        for part, segment in enumerate(item.segments)
        for token in range(segment.num_tokens)
    ]
    sizes = stream.slice_sizes(world_size)
    assert sizes == tuple(sorted(sizes, reverse=True))
    assert max(sizes) - min(sizes) <= 1


def test_one_text_token_is_refused():
    with pytest.raises(ValueError, match="at least 2 text tokens"):
        ItemShape(LatentGrid(1, 2, 2), 1, 1)


def test_text_of_the_base_network_is_not_rotated_and_audio_ends_with_the_video():
    shape = ItemShape(LatentGrid(20, 16, 28), 77, 9)
    cosines, sines = rotary_tables(item_coordinates(shape, CoordinateStyle.V2), torch.ones(1))
    assert torch.equal(sines[-9:], torch.zeros(9, 3))
    assert torch.equal(cosines[-9:], torch.ones(9, 3))
    last_video, last_audio = shape.grid.num_tokens - 1, shape.grid.num_tokens + 76
    torch.testing.assert_close(sines[last_audio, 0], sines[last_video, 0])
    torch.testing.assert_close(cosines[last_audio, 0], torch.tensor(19.0).cos())


def test_text_of_the_super_resolution_network_lies_between_zero_and_one():
    shape = ItemShape(LatentGrid(5, 4, 4), 17, 6)
    _, sines = rotary_tables(item_coordinates(shape, CoordinateStyle.V1), torch.ones(1))
    torch.testing.assert_close(sines[-6:, 0], torch.linspace(0, 1, 6).sin())


def test_video_positions_are_symmetric_about_the_middle_of_the_picture():
    shape = ItemShape(LatentGrid(1, 8, 12), 1, 2)
    _, sines = rotary_tables(item_coordinates(shape, CoordinateStyle.V2), BANDS)
    picture = sines[:24, 2:].view(4, 6, 4)
    torch.testing.assert_close(picture, -picture.flip(0, 1))


def test_rotation_keeps_lengths_and_the_last_channels():
    shape = ItemShape(LatentGrid(2, 4, 4), 3, 2)
    tables = rotary_tables(item_coordinates(shape, CoordinateStyle.V2), BANDS)
    x = torch.randn(shape.num_tokens, 3, 16, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, *tables)
    assert torch.equal(turned[..., 12:], x[..., 12:])
    assert not torch.allclose(turned[..., :12], x[..., :12])
    torch.testing.assert_close(turned.norm(dim=2), x.norm(dim=2))


def test_outputs_are_unpatched_with_the_latent_channel_fastest():
    grid = LatentGrid(2, 4, 6)
    latent = torch.randn(48, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    slow_first = patchify(latent)
    fast_last = slow_first.view(-1, 48, 4).transpose(1, 2).reshape(-1, 192)
    assert torch.equal(unpatchify(fast_last, grid), latent)
    assert not torch.equal(unpatchify(slow_first, grid), latent)
