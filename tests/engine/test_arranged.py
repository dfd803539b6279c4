"""Arranging linears for the machine changes where their numbers lie, and nothing else."""

from __future__ import annotations

import pytest
import torch

from engine.arranged import ArrangedExpertLinear, arrange_linears, padded_size
from engine.model.layers import gelu7, swiglu7, swiglu7_halves
from engine.model.stream import Modality, Run
from engine.weights import build_meta_model, build_model
from hhray.model_size import preset

CPU = torch.device("cpu")
PICO = preset("pico")  # an MLP of 340 channels, or 512 without gates, and 392 rows of q, k, v and gates
RUNS = tuple(Run(0, int(modality), modality, 0, 5, False) for modality in Modality)


def arranged_pico():
    """All that can be is padded."""
    model = build_model(PICO, CPU)
    arrange_linears(model, tile=128, least=1)
    return model


def test_the_full_network_gets_the_sizes_of_whole_tiles_and_keeps_the_published_state():
    model = build_meta_model(preset("15b"))
    published = {name: tensor.shape for name, tensor in model.state_dict().items()}
    count = sum(weight.numel() for weight in model.parameters())
    arrange_linears(model)
    gelu, trunk = model.block.layers[0], model.block.layers[20]
    assert trunk.attention.linear_qkv.weight.shape == (7296, 5120)
    assert gelu.attention.linear_qkv.weight.shape == (3 * 7296, 5120)
    assert trunk.mlp.up_gate_proj.weight.shape == (2 * 13696, 5120)
    assert trunk.mlp.down_proj.weight.shape == (5120, 13696)
    assert gelu.mlp.up_gate_proj.weight.shape == (3 * 20480, 5120)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == published
    added = sum(weight.numel() for weight in model.parameters()) - count
    assert 2 * added / 1e9 == pytest.approx(0.11, abs=0.005)  # GB, as the module says


def test_small_sizes_are_not_padded():
    assert [padded_size(count) for count in (340, 4095, 7208, 13652, 13696)] == [340, 4095, 7296, 13696, 13696]


def test_the_state_of_an_arranged_network_is_what_it_was():
    plain, arranged = build_model(PICO, CPU).state_dict(), arranged_pico().state_dict()
    assert plain.keys() == arranged.keys()
    assert all(torch.equal(arranged[name], tensor) for name, tensor in plain.items())


def test_channels_that_are_padded_become_exactly_zero():
    zeros = torch.zeros(3, 4)
    assert torch.equal(gelu7(zeros), zeros)
    assert torch.equal(swiglu7_halves(zeros), zeros[:, :2])


def test_gates_apart_from_linear_parts_give_the_same_activation():
    turns = torch.randn(9, 24) * 5
    halves = torch.cat([turns[:, 0::2], turns[:, 1::2]], dim=1)
    assert torch.equal(swiglu7_halves(halves), swiglu7(turns))


@pytest.mark.parametrize("layer", [0, 2, 4])  # gelu7 experts, the trunk, swiglu7 experts
def test_products_of_whole_numbers_are_the_same_to_the_last_bit(layer):
    # in float64 every sum of them is exact, in whatever order: equal means equal
    generator = torch.Generator().manual_seed(0)
    plain = build_model(PICO, CPU).double()
    for weight in plain.parameters():
        weight.copy_(torch.randint(-3, 4, weight.shape, generator=generator))
    arranged = build_model(PICO, CPU).double()
    arranged.load_state_dict(plain.state_dict())
    arrange_linears(arranged, tile=128, least=1)
    one, other = plain.block.layers[layer].mlp, arranged.block.layers[layer].mlp
    x = torch.randint(-3, 4, (15, PICO.hidden), generator=generator).double()
    wide, wider = one.up_gate_proj(x, RUNS), other.up_gate_proj(x, RUNS)
    width = one.down_proj.weight.shape[1]
    padding = other.down_proj.weight.shape[1] - width
    if wide.shape[1] > width:
        assert torch.equal(wider.unflatten(1, (2, -1))[:, :, :width], wide.unflatten(1, (-1, 2)).transpose(1, 2))
    assert other.activation(wider)[:, width:].count_nonzero() == 0
    inner = torch.randint(-3, 4, (15, width), generator=generator).double()
    padded = torch.nn.functional.pad(inner, (0, padding))
    assert torch.equal(other.down_proj(padded, RUNS), one.down_proj(inner, RUNS))


@torch.inference_mode()
def test_an_arranged_network_gives_the_velocities_it_gave():
    plain, arranged = build_model(PICO, CPU), arranged_pico()
    assert isinstance(arranged.block.layers[2].attention.linear_qkv, ArrangedExpertLinear)
    x = torch.randn(15, PICO.hidden)
    rotary = torch.ones(15, 6), torch.zeros(15, 6)

    def attention(q, k, v):
        return q + v

    expected, found = (model.block(x, RUNS, rotary, [attention] * PICO.num_layers) for model in (plain, arranged))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
