"""Names and shapes of a network's state from its sizes, and the sizes from names and shapes; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hhray.model_size import AUDIO_CHANNELS, NUM_MODALITIES, PATCH_CHANNELS, PRESETS, ModelSize

Shape = tuple[int, ...]
Expected = dict[str, Shape]
CUSTOM = "custom"
LAYER = re.compile(r"block\.layers\.(\d{1,4})\.")


def expected_tensors(size: ModelSize) -> Expected:
    """Names and shapes of a network's state, in its order."""
    shapes: Expected = {}
    widths = {"video": PATCH_CHANNELS, "text": size.text_channels, "audio": AUDIO_CHANNELS}
    for modality, channels in widths.items():
        shapes[f"adapter.{modality}_embedder.weight"] = (size.hidden, channels)
        shapes[f"adapter.{modality}_embedder.bias"] = (size.hidden,)
    shapes["adapter.rope.bands"] = (size.head_dim // 8,)
    for index in range(size.num_layers):
        layer = _layer_tensors(size, index)
        shapes |= {f"block.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["final_norm_video.weight"] = shapes["final_norm_audio.weight"] = (size.hidden,)
    shapes["final_linear_video.weight"] = (PATCH_CHANNELS, size.hidden)
    shapes["final_linear_audio.weight"] = (AUDIO_CHANNELS, size.hidden)
    return shapes


def _layer_tensors(size: ModelSize, index: int) -> Expected:
    experts = NUM_MODALITIES if size.is_edge(index) else 1
    gelu = size.uses_gelu(index)
    width = size.gelu_width if gelu else size.swiglu_width
    return {
        "attention.pre_norm.weight": (experts * size.hidden,),
        "attention.linear_qkv.weight": (experts * size.qkv_rows, size.hidden),
        "attention.q_norm.weight": (experts * size.head_dim,),
        "attention.k_norm.weight": (experts * size.head_dim,),
        "attention.linear_proj.weight": (experts * size.hidden, size.attention_width),
        "mlp.pre_norm.weight": (experts * size.hidden,),
        "mlp.up_gate_proj.weight": (experts * (width if gelu else 2 * width), size.hidden),
        "mlp.down_proj.weight": (experts * size.hidden, width),
    }


def size_from_shapes(shapes: Mapping[str, Shape]) -> ModelSize | None:
    """The sizes that these tensors say, under a preset's name where they are a preset's; None if they say too little.

    Nothing is checked: compare `expected_tensors` of the result with what is there.
    """
    layers = sorted({int(found[1]) for name in shapes if (found := LAYER.match(name))})
    try:
        hidden, text_channels = (
            shapes[f"adapter.{name}_embedder.weight"][k] for name, k in (("video", 0), ("text", 1))
        )
        edge = {i: shapes[f"block.layers.{i}.attention.pre_norm.weight"][0] == NUM_MODALITIES * hidden for i in layers}
        gelu = {i: _is_gelu(shapes, i, NUM_MODALITIES if edge[i] else 1) for i in layers}
        block = f"block.layers.{layers[0]}.attention"
        experts = NUM_MODALITIES if edge[layers[0]] else 1
        head_dim = shapes[f"{block}.q_norm.weight"][0] // experts
        heads = shapes[f"{block}.linear_proj.weight"][1] // head_dim
        rows = shapes[f"{block}.linear_qkv.weight"][0] // experts
    except (KeyError, IndexError, ZeroDivisionError):
        return None
    size = ModelSize(
        name=CUSTOM,
        num_layers=layers[-1] + 1,
        num_edge=0,
        hidden=hidden,
        num_heads=heads,
        num_kv_heads=((rows - heads) // head_dim - heads) // 2,
        head_dim=head_dim,
        text_channels=text_channels,
        edge_layers=frozenset(i for i in layers if edge[i]),
        gelu_layers=frozenset(i for i in layers if gelu[i]),
    )
    return _named(size)


def _is_gelu(shapes: Mapping[str, Shape], index: int, experts: int) -> bool:
    """A gated MLP has two rows going up for each column coming down, the other kind has one."""
    mlp = f"block.layers.{index}.mlp"
    return shapes[f"{mlp}.up_gate_proj.weight"][0] // experts == shapes[f"{mlp}.down_proj.weight"][1]


def _named(size: ModelSize) -> ModelSize:
    """The preset of these sizes, so that names stay; else the sizes as they are."""
    for preset in PRESETS.values():
        layers = range(preset.num_layers)
        explicit = replace(
            preset,
            name=CUSTOM,
            num_edge=0,
            edge_layers=frozenset(filter(preset.is_edge, layers)),
            gelu_layers=frozenset(filter(preset.uses_gelu, layers)),
        )
        if explicit == size:
            return preset
    return size
