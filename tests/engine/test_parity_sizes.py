"""A network of sizes no recording has, against a dense float64 one, token by token from the specification."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from engine.denoiser import ClipInput, Denoiser
from engine.local_attention import LocalRule
from engine.model.coordinates import CoordinateStyle
from engine.model.dit import AudioVideoTransformer
from engine.parity.forward import forward_rows
from engine.parity.golden_set import GoldenSet
from engine.samplers.distilled import DistilledSampler
from engine.weights import fill_random
from hhray.geometry import LatentGrid
from hhray.model_size import ModelSize

SIZE = ModelSize("odd", 4, 0, 96, 6, 3, 24, 200, frozenset({1, 3}), frozenset({2}))
GRID, AUDIO, TEXT = LatentGrid(4, 4, 2), 7, 5
RULE = LocalRule(1, frozenset({0, 3}))
ROWS, COLUMNS = 2, 1


def coordinates(style):
    """t, h, w after centring and scaling, of every token."""
    video = [
        (t, h - (ROWS - 1) / 2, w - (COLUMNS - 1) / 2) for t in range(4) for h in range(ROWS) for w in range(COLUMNS)
    ]
    reference = (AUDIO - 1) // 4 + 1 if style == "v2" else GRID.frames
    audio = [(i * (reference - 1) / (AUDIO - 1), 0, 0) for i in range(AUDIO)]
    text = [(0 if style == "v2" else i / (TEXT - 1), 0, 0) for i in range(TEXT)]
    return torch.tensor(video + audio + text, dtype=torch.float64)


def norm(x, weight):
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + weight)


def rotated(x, positions):
    n = SIZE.head_dim // 8
    bands = torch.tensor([10000 ** (-j / n) for j in range(n)], dtype=torch.float64)
    angles = (positions[:, None] * bands).flatten()
    a, b = x[:, : 3 * n], x[:, 3 * n : 6 * n]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin, x[:, 6 * n :]], 1)


def activated(u, layer):
    if layer in SIZE.gelu_layers:
        c = u.clamp(max=7)
        return c * torch.sigmoid(1.702 * c)
    gate, linear = u[0::2].clamp(max=7), u[1::2].clamp(-7, 7)
    return gate * torch.sigmoid(1.702 * gate) * (linear + 1)


def frame_of(token):
    return token // (ROWS * COLUMNS) if token < GRID.num_tokens else None


def sees(query, key, layer):
    near = frame_of(query) is None or frame_of(key) is None or abs(frame_of(query) - frame_of(key)) <= RULE.window
    return near or layer not in RULE.layers


def dense_layer(x, layer, state, kinds, positions):
    """One layer; x is [S, hidden]."""
    experts = 3 if layer in SIZE.edge_layers else 1
    part = {
        name.removeprefix(f"block.layers.{layer}."): weight.double().chunk(experts)
        for name, weight in state.items()
        if name.startswith(f"block.layers.{layer}.")
    }
    own = [{name: chunks[kind if experts == 3 else 0] for name, chunks in part.items()} for kind in kinds]
    heads, kv_heads, dim = SIZE.num_heads, SIZE.num_kv_heads, SIZE.head_dim
    q, k, v, gates = [], [], [], []
    for token, w in enumerate(own):
        fused = w["attention.linear_qkv.weight"] @ norm(x[token], w["attention.pre_norm.weight"])
        parts = fused.split([heads * dim, kv_heads * dim, kv_heads * dim, heads])
        q.append(rotated(norm(parts[0].view(heads, dim), w["attention.q_norm.weight"]), positions[token]))
        k.append(rotated(norm(parts[1].view(kv_heads, dim), w["attention.k_norm.weight"]), positions[token]))
        v.append(parts[2].view(kv_heads, dim))
        gates.append(torch.sigmoid(parts[3]))
    x = x.clone()
    for token, w in enumerate(own):
        seen = [key for key in range(len(kinds)) if sees(token, key, layer)]
        mixed = []
        for head in range(heads):
            group = head // (heads // kv_heads)
            keys, values = (torch.stack([rows[key][group] for key in seen]) for rows in (k, v))
            weights = (keys @ q[token][head] / dim**0.5).softmax(0)
            mixed.append(gates[token][head] * (weights @ values))
        x[token] += w["attention.linear_proj.weight"] @ torch.cat(mixed)
        wide = w["mlp.up_gate_proj.weight"] @ norm(x[token], w["mlp.pre_norm.weight"])
        x[token] += w["mlp.down_proj.weight"] @ activated(wide, layer)
    return x


def dense_velocities(state, video, audio, text, style):
    """Video [48, T, h, w] and audio [A, 64], in float64."""
    cells = [(t, 2 * r, 2 * c) for t in range(GRID.frames) for r in range(ROWS) for c in range(COLUMNS)]
    patches = torch.stack([video[:, t, y : y + 2, x : x + 2].flatten() for t, y, x in cells])
    embedded = [
        tokens.double() @ state[f"adapter.{name}.weight"].double().T + state[f"adapter.{name}.bias"].double()
        for name, tokens in (("video_embedder", patches), ("audio_embedder", audio), ("text_embedder", text))
    ]
    kinds = [kind for kind, tokens in enumerate(embedded) for _ in tokens]
    x = torch.cat(embedded)
    for layer in range(SIZE.num_layers):
        x = dense_layer(x, layer, state, kinds, coordinates(style))
    result = torch.empty(48, GRID.frames, GRID.height, GRID.width, dtype=torch.float64)
    final = {name: weight.double() for name, weight in state.items() if name.startswith("final")}
    for (t, row, column), token in zip(cells, x, strict=False):
        out = final["final_linear_video.weight"] @ norm(token, final["final_norm_video.weight"])
        for dy in range(2):
            for dx in range(2):
                result[:, t, row + dy, column + dx] = out[(dy * 2 + dx) * 48 :][:48]
    sound = x[GRID.num_tokens : GRID.num_tokens + AUDIO]
    return result, norm(sound, final["final_norm_audio.weight"]) @ final["final_linear_audio.weight"].T


@pytest.mark.parametrize("style", ["v1", "v2"])
@torch.inference_mode()
def test_a_network_of_other_sizes_equals_a_dense_float64_one(tmp_path, style):
    generator = torch.Generator().manual_seed(11)
    model = AudioVideoTransformer(SIZE, torch.float32)
    fill_random(model, 12)
    for name, weight in model.named_parameters():
        if "up_gate_proj" in name:
            weight.mul_(4)  # so that activations pass the clamps
    video = torch.randn(48, GRID.frames, GRID.height, GRID.width, generator=generator)
    audio, text = torch.randn(AUDIO, 64, generator=generator), torch.randn(TEXT, 200, generator=generator)
    state = model.state_dict()
    expected = dense_velocities(state, video, audio, text, style)

    clip = ClipInput(GRID, AUDIO, text, torch.randn, audio=audio, video=video)
    for rule in (RULE, replace(RULE, layers=frozenset())):
        denoiser = Denoiser(model, DistilledSampler(), style=CoordinateStyle(style), local=rule)
        errors = [
            ((ours - theirs).norm() / theirs.norm()).item()
            for ours, theirs in zip(denoiser.velocities(denoiser.start([clip]))[0], expected, strict=True)
        ]
        assert (max(errors) < 1e-5) is bool(rule.layers)
        assert rule.layers or max(errors) > 1e-3

    write_set(tmp_path, state, style, {"video_latent": video, "audio_latent": audio, "text_features": text}, expected)
    rows = {row.output: row for row in forward_rows(GoldenSet(tmp_path), "odd")}
    assert rows["video_velocity"].ok
    assert rows["audio_velocity"].ok


def write_set(folder, state, style, inputs, expected):
    """A golden directory of one forward case; of its intermediates only the shapes are those of a recording."""
    config = {
        "num_layers": 4,
        "hidden_size": 96,
        "head_dim": 24,
        "num_heads_q": 6,
        "num_heads_kv": 3,
        "text_in_channels": 200,
        "mm_layers": [1, 3],
        "gelu7_layers": [2],
    }
    case = {
        "coords_style": style,
        "frame_receptive_field": RULE.window,
        "latent_thw": [GRID.frames, GRID.height, GRID.width],
        "audio_len": AUDIO,
        "text_len": TEXT,
        "local_attn_layers": sorted(RULE.layers),
        "up_gate_gain": 1.0,
    }
    (folder / "index.json").write_text(json.dumps({"config": config, "cases": {"odd": case}}))
    save_file(state, folder / "weights.safetensors")
    tokens = GRID.num_tokens + AUDIO + TEXT
    shapes = {"coords": (tokens, 9), "rope": (tokens, 18), "modality": (tokens,), "token_sequence": (tokens, 200)}
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    tensors |= {name: value[None] for name, value in inputs.items()}
    tensors |= {"video_velocity": expected[0].float()[None], "audio_velocity": expected[1].float()[None]}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "odd.safetensors")
