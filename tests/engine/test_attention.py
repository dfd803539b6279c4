"""Packed attention against a masked softmax in float64."""

from __future__ import annotations

import pytest
import torch

from engine.attention import attend, xformers_ops

LENGTHS = (37, 5, 20)


def masked_softmax(q, k, v, lengths):
    q, k, v = (x.double().cpu() for x in (q, k, v))
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[2] ** 0.5
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    scores = scores.masked_fill(owner[:, None] != owner[None], float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(2), v)


def random_heads(dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(3)
    shapes = ((8, 16), (2, 16), (2, 16))
    heads = [torch.randn(sum(LENGTHS), *shape, generator=generator) for shape in shapes]
    return [x.to(device, dtype) for x in heads]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_items_attend_to_themselves_only_with_grouped_heads(dtype, tolerance):
    q, k, v = random_heads(dtype)
    mixed = attend(q, k, v, LENGTHS)
    assert mixed.dtype is dtype
    torch.testing.assert_close(mixed.double(), masked_softmax(q, k, v, LENGTHS), rtol=0, atol=tolerance)


def test_one_item_is_plain_attention():
    q, k, v = random_heads()
    whole = (sum(LENGTHS),)
    torch.testing.assert_close(attend(q, k, v, whole).double(), masked_softmax(q, k, v, whole), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_cuda_kernel_equals_the_masked_softmax():
    if xformers_ops() is None:
        pytest.skip("xformers has no kernels for this torch and GPU")
    q, k, v = random_heads(torch.bfloat16, "cuda")
    mixed = attend(q, k, v, LENGTHS)
    torch.testing.assert_close(mixed.double().cpu(), masked_softmax(q, k, v, LENGTHS), rtol=0, atol=2e-2)
