"""Float8 products with a scale for every row: as a float64 product of the quantised values, on sizes of any parity."""

from __future__ import annotations

import pytest
import torch

from engine import scaled_product
from engine.eight_bit import coded, row_scales
from engine.model.layers import EightBitExpertLinear
from engine.model.scaled_linear import ScaledExpertLinear
from engine.model.stream import Modality, Run
from engine.scaled_product import aligned, quantised, why_not_scaled
from hhray.memory_size import Format

CPU = torch.device("cpu")
needs_products = pytest.mark.skipif(bool(why_not_scaled(CPU)), reason=f"no float8 products here: {why_not_scaled(CPU)}")
RUNS = (
    Run(0, 0, Modality.VIDEO, 0, 4, True),
    Run(0, 1, Modality.AUDIO, 0, 1, True),
    Run(0, 2, Modality.TEXT, 0, 2, False),
)


def tokens(rows=7, columns=21, dtype=torch.float32):
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    x[1], x[2] = 0, x[2] * 1e4
    return x.to(dtype)


def weights(experts, a_scale_each=True):
    exact = torch.randn(experts * 11, 21, generator=torch.Generator().manual_seed(3))
    exact[5] = 0
    scales = row_scales(exact, Format.FP8) if a_scale_each else (exact.abs().max() / 448).reshape(1, 1)
    return coded(exact, scales, Format.FP8), scales.flatten()


@needs_products
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("a_scale_each", [True, False], ids=["a scale a row", "one scale"])
@pytest.mark.parametrize("experts", [1, 3])
def test_a_product_is_that_of_the_quantised_values(experts, a_scale_each, dtype, allowed):
    x, (values, scales) = tokens(dtype=dtype), weights(experts, a_scale_each)
    linear = ScaledExpertLinear(values, scales, experts, dtype)
    made = linear(x, RUNS)
    rounded, token_scales = quantised(x, 21)
    whole = values.double() * scales.double().reshape(-1, 1)
    parts = torch.split(rounded.double() * token_scales, [4, 1, 2])
    picked = [whole.chunk(experts)[run.modality if experts > 1 else 0] for run in RUNS]
    expected = torch.cat([part @ weight.T for part, weight in zip(parts, picked, strict=True)])
    assert (made.shape, made.dtype) == ((7, 11), dtype)
    assert not made[1].any()
    each = (made.double() - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=1e-30)
    assert float(each.max()) < allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_is_quantised_by_its_own_largest_value(monkeypatch, dtype):
    x = tokens(dtype=dtype)
    values, scales = quantised(x, 32)
    assert (values.shape, values.dtype, scales.shape) == ((7, 32), torch.float8_e4m3fn, (7, 1))
    assert not values.float()[:, 21:].any()
    assert values.float().abs().amax(1).tolist() == [448, 0, *[448] * 5]
    assert (values.float()[:, :21] * scales - x.float()).abs().amax(1).le(scales[:, 0] * 16.01).all()
    assert scales[1] == 1
    monkeypatch.setattr(scaled_product, "PIECE_TOKENS", 3)
    again, same = quantised(x, 32)
    assert torch.equal(again.view(torch.uint8), values.view(torch.uint8))
    assert torch.equal(same, scales)


@needs_products
def test_what_is_no_number_is_not_hidden():
    x = tokens()
    x[3, 4], x[6, 0] = float("nan"), float("inf")
    made = ScaledExpertLinear(*weights(1), 1, torch.float32)(x, RUNS)
    assert made.isfinite().all(1).tolist() == [True, True, True, False, True, True, False]


@pytest.mark.parametrize("experts", [1, 3])
def test_state_and_expanded_weights_are_those_of_the_files(experts):
    values, scales = weights(experts)
    padded = ScaledExpertLinear(values, scales, experts, torch.float32)
    plain = EightBitExpertLinear(values, scales, experts, torch.float32)
    assert padded.values.shape == (experts * 16, 32)
    assert all(torch.equal(padded.expert(index), plain.expert(index)) for index in range(experts))
    ours, theirs = padded.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name].view(torch.uint8), theirs[name].view(torch.uint8)) for name in ours)


def test_weights_of_fitting_sizes_are_not_copied():
    values = torch.zeros(32, 48, dtype=torch.float8_e4m3fn)
    assert aligned(values, 2) is values


def refuse(*_args, **_kwargs):
    raise RuntimeError("rowwise scaling is not built\nfor this device")


@pytest.mark.parametrize(
    ("product", "said"),
    [
        (refuse, "rowwise scaling is not built"),
        (lambda a, b, **_: torch.zeros(len(a), b.shape[1]), "the result of a small product is off by 1 of"),
    ],
)
def test_a_device_that_cannot_or_errs_says_why(monkeypatch, product, said):
    monkeypatch.setattr(torch, "_scaled_mm", product)
    assert why_not_scaled.__wrapped__(CPU).startswith(said)
