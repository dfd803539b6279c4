"""Names, shapes and sizes of the network's tensors: those of the published checkpoints."""

from __future__ import annotations

import pytest
import torch

from engine.weights import build_meta_model, build_model, compute_dtype
from hhray.errors import ConfigError
from hhray.model_size import PRESETS, ModelSize, preset


@pytest.fixture(scope="module")
def full():
    return build_meta_model(preset("15b")).state_dict()


def expected_layer(index):
    edge, gelu = index < 4 or index >= 36, index < 4
    experts = 3 if edge else 1
    up, down = (20480, 20480) if gelu else (27304, 13652)
    return {
        "attention.pre_norm.weight": (5120 * experts,),
        "attention.linear_qkv.weight": (7208 * experts, 5120),
        "attention.q_norm.weight": (128 * experts,),
        "attention.k_norm.weight": (128 * experts,),
        "attention.linear_proj.weight": (5120 * experts, 5120),
        "mlp.pre_norm.weight": (5120 * experts,),
        "mlp.up_gate_proj.weight": (up * experts, 5120),
        "mlp.down_proj.weight": (5120 * experts, down),
    }


def test_the_full_network_has_exactly_the_published_tensors(full):
    expected = {
        "adapter.video_embedder.weight": (5120, 192),
        "adapter.video_embedder.bias": (5120,),
        "adapter.audio_embedder.weight": (5120, 64),
        "adapter.audio_embedder.bias": (5120,),
        "adapter.text_embedder.weight": (5120, 3584),
        "adapter.text_embedder.bias": (5120,),
        "adapter.rope.bands": (16,),
        "final_norm_video.weight": (5120,),
        "final_norm_audio.weight": (5120,),
        "final_linear_video.weight": (192, 5120),
        "final_linear_audio.weight": (64, 5120),
    }
    for index in range(40):
        expected |= {f"block.layers.{index}.{name}": shape for name, shape in expected_layer(index).items()}
    assert {name: tuple(tensor.shape) for name, tensor in full.items()} == expected
    assert len(full) == 331


def test_the_full_network_has_15_299_419_136_parameters(full):
    assert sum(tensor.numel() for tensor in full.values()) - full["adapter.rope.bands"].numel() == 15_299_419_136


def test_block_linears_are_bfloat16_and_everything_else_float32(full):
    halves = {name: tensor for name, tensor in full.items() if tensor.dtype is torch.bfloat16}
    assert len(halves) == 160
    assert sum(tensor.numel() for tensor in halves.values()) == 15_277_834_240
    assert all(name.startswith("block.") and "norm" not in name for name in halves)
    assert {tensor.dtype for name, tensor in full.items() if name not in halves} == {torch.float32}
    total = sum(tensor.numel() * tensor.element_size() for tensor in full.values())
    assert total == 2 * 15_277_834_240 + 4 * (15_299_419_136 - 15_277_834_240 + 16)


def test_edge_and_gelu_layers_can_be_named_one_by_one():
    size = ModelSize("odd", 4, 0, 64, 6, 3, 16, 32, frozenset({1, 3}), frozenset({2}))
    state = build_meta_model(size).state_dict()
    heads = [state[f"block.layers.{layer}.attention.q_norm.weight"].numel() // 16 for layer in range(4)]
    assert heads == [1, 3, 1, 3]  # experts
    widths = [state[f"block.layers.{layer}.mlp.down_proj.weight"].shape[1] for layer in range(4)]
    assert widths == [168, 168, 256, 168]


@pytest.mark.parametrize("name", PRESETS)
def test_weights_per_token_count_one_expert_of_every_block_linear(name):
    size = preset(name)
    linears = {
        key: tensor.numel()
        for key, tensor in build_meta_model(size).state_dict().items()
        if key.startswith("block.") and tensor.dim() == 2
    }
    met = sum(count // (3 if size.is_edge(int(key.split(".")[2])) else 1) for key, count in linears.items())
    assert met == size.weights_per_token()


def test_random_weights_are_the_same_every_time():
    first, second = (build_model(preset("pico"), torch.device("cpu")).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert compute_dtype(preset("pico")) is torch.float32


def test_the_full_network_without_a_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="needs a checkpoint"):
        build_model(preset("15b"), torch.device("cpu"))
