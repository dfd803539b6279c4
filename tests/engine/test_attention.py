"""Every attention backend of this machine against a masked softmax in float64; biases, parts and their merging."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from attention_cases import ITEMS, masked_softmax, random_heads, visible, whole

from engine.attention import HeadKind, QueryBlock, attend_blocks, biases_of, merge_partials
from engine.attention.bias import seen_rows
from engine.attention.blocks import key_parts
from engine.attention.probe import find_backends
from engine.attention.torch_backends import MergedParts, cudnn, flash_cpu, flash_cuda
from engine.attention.xformers_backend import XformersKernel
from engine.attention.xformers_library import xformers_module
from engine.exchange.plan import layer_plan
from engine.model.stream import ItemShape, TokenStream
from hhray.geometry import LatentGrid
from hhray.parallel_layout import ParallelLayout

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
TOKENS = sum(item.num_tokens for item in ITEMS)


def flash_of_xformers():
    """xformers' own FlashAttention operator with the kernel alone replaced by its meaning, in plain torch: rows from
    cumulative lengths, `seqused_k` keys of each block. All that xformers does around the kernel is its own."""
    fmha = xformers_module("xformers.ops.fmha")

    def kernel(q, k, v, starts_q, starts_k, used_k, max_q, max_k, p, scale, *rest, **options):
        assert not p
        assert scale == q.shape[-1] ** -0.5
        if starts_q is None:
            q, k, v, starts_q, starts_k = q[0], k[0], v[0], [0, q.shape[1]], [0, k.shape[1]]
        output, lse = torch.full_like(q, float("nan")), torch.full(q.shape[1::-1], float("nan"))
        for block, (first, end) in enumerate(pairwise(starts_q)):
            used = starts_k[block + 1] - starts_k[block] if used_k is None else used_k[block]
            assert end - first <= max_q
            assert used <= max_k
            rows = slice(starts_k[block], starts_k[block] + used)
            one, sums = flash_cpu(*(x.transpose(0, 1)[None] for x in (q[first:end], k[rows], v[rows])))
            output[first:end], lse[:, first:end] = one[0].transpose(0, 1), sums[0]
        return output, lse, None

    def merge(outputs, lses, write_lse, output_dtype):
        # [1, S, K, H / K, D] and [1, K, H / K, S], as xformers documents
        merged, _ = merge_partials(outputs, [lse.permute(0, 3, 1, 2) for lse in lses])
        return merged.to(output_dtype), None

    operator = type("Flash", (fmha.flash.FwOp,), {"OPERATOR": staticmethod(kernel), "NAME": "flash by its meaning"})
    return XformersKernel(SimpleNamespace(Inputs=fmha.Inputs, merge_attentions=merge), operator, direct=True)


def backends(device, dtype, heads=(4, 2)):
    found = find_backends(HeadKind(device, dtype, *heads, 16)).backends
    return [*found, flash_of_xformers()] if device == CPU and dtype is torch.float32 else found


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("window", [None, 0, 1, 3])
def test_every_backend_is_one_masked_softmax_with_grouped_heads(device, dtype, window):
    for heads in ((4, 2), (16, 8), (3, 1), (2, 2)):
        q, k, v = random_heads(TOKENS, dtype, heads, device=device)
        expected = masked_softmax(q, k, v, visible(ITEMS, window))
        biases = biases_of(whole(ITEMS, window), TOKENS, q.device)
        for backend in backends(q.device, dtype, heads):
            mixed = backend(q, k, v, biases)
            assert (mixed.dtype, mixed.shape) == (dtype, q.shape), backend.name
            worst = (mixed.double().cpu() - expected).abs().max().item()
            assert worst <= TOLERANCE[dtype], (backend.name, heads, worst)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("window", [None, 1])
def test_every_backend_takes_the_uneven_slices_of_three_ranks(device, window):
    stream, mask = TokenStream(ITEMS), visible(ITEMS, window)
    q, k, v = random_heads(TOKENS, heads=(16, 8))
    plan = layer_plan(stream, ParallelLayout(1, 3), window)
    assert len({len(held) for held in plan.held}) > 1
    for rank, (held, seen) in enumerate(zip(plan.held, plan.seen, strict=True)):
        keys = [row for part in seen for row in part]
        own, their_k, their_v = (x.to(device) for x in (q[held.start : held.stop], k[keys], v[keys]))
        expected = masked_softmax(own, their_k, their_v, mask[held.start : held.stop][:, keys])
        biases = biases_of(plan.row_blocks(rank), len(keys), own.device)
        for backend in backends(own.device, torch.float32, (16, 8)):
            mixed = backend(own, their_k, their_v, biases)
            torch.testing.assert_close(mixed.double().cpu(), expected, rtol=0, atol=1e-5, msg=backend.name)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("window", [None, 1])
def test_the_mask_of_flex_attention_is_the_rule_in_tiles_that_are_full_partial_or_absent(monkeypatch, window):
    from torch.nn.attention import flex_attention

    from engine.attention.flex_backend import TILE, FlexKernel, tile_mask

    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)  # the arithmetic, no compiler
    items = (ItemShape(LatentGrid(5, 16, 20), 5, 3), ItemShape(LatentGrid(2, 16, 20), 1, 4))
    tokens = sum(item.num_tokens for item in items)
    q, k, v = random_heads(tokens)
    mask, biases = visible(items, window), biases_of(whole(items, window), tokens, CPU)
    tiles = tile_mask(tuple(seen_rows(biases, tokens, tokens)), tokens, tokens, CPU)
    padded = torch.nn.functional.pad(mask, [0, -tokens % TILE] * 2)
    pairs = padded.unflatten(1, (-1, TILE)).unflatten(0, (-1, TILE)).sum((1, 3))
    assert torch.equal(tiles.to_dense()[0, 0].bool(), pairs > 0)
    assert torch.equal(tiles.full_kv_num_blocks[0, 0], (pairs == TILE**2).sum(1).int())
    assert (pairs == 0).any()
    assert (pairs == TILE**2).any()
    mixed = FlexKernel(compiled=False)(q, k, v, biases)
    torch.testing.assert_close(mixed.double(), masked_softmax(q, k, v, mask), rtol=0, atol=1e-5)


def test_one_clip_needs_no_bias_packed_clips_block_diagonals_and_windows_gaps():
    classes = xformers_module("xformers.ops.fmha.attn_bias")
    assert biases_of(whole(ITEMS[:1], None), ITEMS[0].num_tokens, CPU) == ()
    (packed,) = biases_of(whole(ITEMS, None), TOKENS, CPU)
    assert type(packed) is classes.BlockDiagonalMask
    near, rest = biases_of(whole(ITEMS, 1), TOKENS, CPU)
    assert {type(near), type(rest)} == {classes.BlockDiagonalGappyKeysMask}


@pytest.mark.parametrize("window", [None, 0, 1, 3])
def test_xformers_materialises_each_pair_once_and_no_other(window):
    biases = biases_of(whole(ITEMS, window), TOKENS, CPU)
    seen = sum(bias.materialize((TOKENS, TOKENS)).exp() for bias in biases)
    assert torch.equal(seen, visible(ITEMS, window).float())


def test_biases_are_made_once():
    blocks = whole(ITEMS, 1)
    assert biases_of(blocks, TOKENS, CPU) is biases_of(whole(ITEMS, 1), TOKENS, CPU)


def test_a_block_of_fewer_ranges_has_its_longest_cut():
    two = QueryBlock(range(3), (range(4), range(9, 12)))
    one = QueryBlock(range(3, 5), (range(2, 9),))
    assert key_parts((two, one)) == ((range(4), range(2, 5)), (range(9, 12), range(5, 9)))


def test_too_few_keys_to_cut_are_refused():
    two = QueryBlock(range(3), (range(4), range(9, 12)))
    with pytest.raises(ValueError, match="1 keys, too few to be cut into 2 ranges"):
        key_parts((two, QueryBlock(range(3, 5), (range(1),))))


@pytest.mark.parametrize("kernel", [flash_cuda, cudnn])
def test_torch_has_the_cuda_operators_with_these_arguments(kernel):
    """Shapes only, on the meta device: that numbers are right on a GPU is for its probe to find."""
    q, k, v = (torch.empty(TOKENS, heads, 16, dtype=torch.bfloat16, device="meta") for heads in (4, 2, 2))
    mixed = MergedParts("parts", kernel)(q, k, v, biases_of(whole(ITEMS, 1), TOKENS, CPU))
    assert (mixed.shape, mixed.dtype) == (q.shape, q.dtype)


def test_no_queries_give_no_rows():
    q, k, v = random_heads(5)
    assert attend_blocks(q[:0], k, v, ()).shape == (0, 4, 16)


def test_parts_merge_to_one_softmax_and_can_be_merged_again():
    q, k, v = (x.transpose(0, 1)[None] for x in random_heads(20, heads=(4, 2), keys=50))
    parts = [flash_cpu(q, k[:, :, rows], v[:, :, rows]) for rows in (slice(7), slice(7, 8), slice(8, 50))]
    outputs, lses = zip(*parts, strict=True)
    whole_output, whole_lse = flash_cpu(q, k, v)
    at_once = merge_partials(outputs, lses)
    first, first_lse = merge_partials(outputs[:2], lses[:2])
    in_turn = merge_partials([first, outputs[2]], [first_lse, lses[2]])
    for merged, lse in (at_once, in_turn):
        torch.testing.assert_close(merged, whole_output, rtol=0, atol=1e-6)
        torch.testing.assert_close(lse, whole_lse, rtol=0, atol=1e-5)


def test_a_part_that_nothing_sees_counts_for_nothing():
    output, lse = torch.ones(2, 3), torch.zeros(2)
    merged, total = merge_partials([torch.zeros(2, 3), output], [torch.full((2,), float("-inf")), lse])
    assert torch.equal(merged, output)
    assert torch.equal(total, lse)


def test_merging_keeps_what_half_precision_would_lose():
    """Large scores: the sums of exponentials themselves would overflow."""
    big, small = torch.full((1,), 400.0), torch.full((1,), 399.0)
    merged, lse = merge_partials([torch.ones(1, 1), torch.zeros(1, 1)], [big, small])
    assert merged.item() == pytest.approx(1 / (1 + torch.tensor(-1.0).exp().item()), rel=1e-6)
    assert lse.item() == pytest.approx(400.313262, abs=1e-4)


def test_parts_on_a_cpu_keep_probabilities_of_bfloat16_in_float32():
    q, k, v = random_heads(TOKENS, torch.bfloat16)
    biases = biases_of(whole(ITEMS, 1), TOKENS, CPU)
    mixed = MergedParts("parts", flash_cpu)(q, k, v, biases)
    expected = masked_softmax(q, k, v, visible(ITEMS, 1))
    torch.testing.assert_close(mixed.double(), expected.bfloat16().double(), rtol=0.01, atol=1e-4)
