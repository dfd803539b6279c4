"""One clip on one, two and four ranks: the same latents, the counted bytes, the memory of each."""

from __future__ import annotations

import pytest
import torch

from engine.exchange import step_bytes
from engine.model.stream import ItemShape, TokenStream
from hhray.geometry import LatentGrid
from hhray.model_size import preset


def relative_error(value, reference):
    return ((value - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.parametrize("clip", ["packed0", "packed1", "local", "tiny", "clip"])
def test_two_ranks_make_the_same_latents_as_one(gang, clip):
    (single,) = gang(1)
    for result in gang(2):
        for kind in ("video", "audio"):
            assert relative_error(result.tensors[f"{clip}.{kind}"], single.tensors[f"{clip}.{kind}"]) < 1e-5


@pytest.mark.parametrize("clip", ["packed0", "packed1", "local"])
def test_four_ranks_make_the_same_latents_as_one(gang, clip):
    (single,) = gang(1)
    for result in gang(4):
        for kind in ("video", "audio"):
            assert relative_error(result.tensors[f"{clip}.{kind}"], single.tensors[f"{clip}.{kind}"]) < 1e-5


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_each_rank_counts_exactly_the_bytes_of_the_formula(gang, world_size):
    for result in gang(world_size):
        assert result.facts["sent_bytes"] == result.facts["expected_bytes"]
        assert (sum(result.facts["sent_bytes"]) > 0) == (world_size > 1)


def test_reported_steps_carry_the_counted_bytes(gang):
    text_tokens = 2 + 6  # start, end, and the six words of the prompt
    stream = TokenStream((ItemShape(LatentGrid(20, 16, 28), 77, text_tokens),))
    for rank, result in enumerate(gang(2)):
        for report in result.facts["steps"]:
            assert report["bytes_exchanged"] == 4 * step_bytes(stream, preset("pico"), rank, 2, 4)


def test_two_ranks_need_clearly_less_activation_memory_each(gang):
    alone = gang(1)[0].facts["steps"][0]["peak_activation_bytes"]
    stream_bytes = 4 * 128 * (20 * 8 * 14 + 77 + 8)
    assert alone > 4 * stream_bytes  # residual, normed input and the MLP's two widths at least
    for result in gang(2):
        assert result.facts["steps"][0]["peak_activation_bytes"] < 0.65 * alone


def test_a_fault_in_one_ranks_slice_changes_the_clips_it_holds_and_no_other(gang):
    # the first item of the batch lies wholly on rank 0, the second on both; rank 1 is the faulty one
    for result in gang(2):
        assert torch.equal(result.tensors["broken0.video"], result.tensors["packed0.video"])
        assert relative_error(result.tensors["broken1.video"], result.tensors["packed1.video"]) > 1e-3


def test_only_rank_zero_writes_the_clip(gang):
    first, second = gang(2)
    assert first.facts["mux"]["num_frames"] == 75
    assert second.facts["mux"] is None
