"""Heads of the first layer that tell each token where it is and what is asked for, from the first step of training on.

The network knows positions by rotary attention alone. With random weights it uses neither time nor the motion that is
asked for, since each is of use with the other only: both were still unused after a thousand steps. So the first layer
begins with heads that bring both to every token; training goes on from there as with any other weights.

Text tokens are not rotated: a head whose query is constant and whose keys are four text tokens at different phases of
one rotary band weighs these tokens by cos(angle - phase), which is a set of smooth bumps over the band's axis. Five
heads are made so. The other three look at one text token each, wherever they are.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from engine.embedded.meaning import BEHIND, FIRST_THING, NUM_TOKENS, SECOND_THING
from engine.model.dit import AudioVideoTransformer, GatedAttention, Layer
from engine.model.layers import ExpertLinear
from engine.model.stream import Modality

# axis (t, h, w), band of it (fastest first), phases of the four tokens
QUARTERS = (0.0, math.pi / 2, math.pi, 3 * math.pi / 2)
SIDES = (-1.8, -0.6, 0.6, 1.8)
HEADS: tuple[tuple[int, int, tuple[float, ...]], ...] = (
    (0, 1, (-0.7, 1.1, 2.6, -2.2)),  # the first third of three seconds, and the rest
    (0, 1, (-0.2, 1.4, 2.9, -1.8)),  # the last third, and the rest
    (0, 0, QUARTERS),
    (1, 0, SIDES),
    (2, 0, SIDES),
)
CONSTANT = 3.0  # length of what says "video token" or "audio token" in the residual
LOUDNESS = {0: 8.0, 1: 2.0, 2: 2.0}  # of where it is on each axis, as the heads add it; time is learned last
READING = 2.5  # of what is asked for
READ = (FIRST_THING, SECOND_THING, BEHIND)


@torch.no_grad()
def take_bearings(model: AudioVideoTransformer, generator: torch.Generator) -> None:
    """Rewrite the heads of layer 0, and the biases of the embedders, in place; needs 8 heads with keys of their own."""
    adapter, attention = model.adapter, _first(model)
    attention.pre_norm.weight.zero_()
    content = torch.linalg.pinv(adapter.text_embedder.weight.float())  # reads text features: [64, hidden]
    names = content[:NUM_TOKENS]
    constants = {}
    for modality, embedder in ((Modality.VIDEO, adapter.video_embedder), (Modality.AUDIO, adapter.audio_embedder)):
        constants[modality] = _apart_from(embedder.weight.float(), generator)
        embedder.bias.copy_(CONSTANT * constants[modality])
    adapter.text_embedder.bias.zero_()
    for head, (axis, band, phases) in enumerate(HEADS):
        angle = torch.tensor(phases)[:, None]
        near, far = (angle.cos() * names).sum(0), (angle.sin() * names).sum(0)
        _look(model, head, constants, (_place(model, axis, band), near, far))
        _add(model, head, names, LOUDNESS[axis], generator)
    for head, token in enumerate(READ, len(HEADS)):
        # a channel that is not rotated: the same wherever it is
        _look(model, head, constants, (model.size.head_dim - 2, names[token], None))
        count = model.size.head_dim
        mixed = torch.randn(count, len(content), generator=generator) / math.sqrt(count)
        _add(model, head, mixed @ content, READING, generator)


def _look(
    model: AudioVideoTransformer,
    head: int,
    constants: dict[Modality, Tensor],
    sought: tuple[int, Tensor, Tensor | None],
) -> None:
    """Queries that are one channel and constant; keys of text tokens in this channel and in its rotary partner."""
    linear = _first(model).linear_qkv
    queries, keys = (_rows(model, part, head) for part in range(2))
    place, near, far = sought
    for modality, constant in constants.items():
        expert = _expert(linear, modality)
        expert[queries], expert[keys], expert[_gate(model, head)] = 0, 0, 0
        expert[queries.start + place] = constant.to(expert.dtype)
        expert[keys.stop - 1] = constant.to(expert.dtype)  # where no query looks
    expert = _expert(linear, Modality.TEXT)
    expert[keys] = 0
    expert[keys.start + place] = near.to(expert.dtype)
    if far is not None:
        expert[keys.start + 3 * (model.size.head_dim // 8) + place] = far.to(expert.dtype)


def _add(model: AudioVideoTransformer, head: int, read: Tensor, gain: float, generator: torch.Generator) -> None:
    """Values of text tokens are what `read` [count, hidden] reads; they go into directions of their own."""
    size, attention = model.size, _first(model)
    values = _rows(model, 2, head)
    text = _expert(attention.linear_qkv, Modality.TEXT)
    text[values] = 0
    text[values.start : values.start + len(read)] = read.to(text.dtype)
    directions = gain * torch.randn(size.hidden, len(read), generator=generator) / math.sqrt(size.hidden)
    for modality in (Modality.VIDEO, Modality.AUDIO):
        out = _expert(attention.linear_proj, modality)
        columns = slice(head * size.head_dim, (head + 1) * size.head_dim)
        out[:, columns] = 0
        out[:, columns.start : columns.start + len(read)] = directions.to(out.dtype)


def _apart_from(columns: Tensor, generator: torch.Generator) -> Tensor:
    """A direction of length 1 that no input of an embedder goes to, as far as there is one."""
    basis, strength, _ = torch.linalg.svd(columns)
    rank = int((strength > 1e-3 * strength[0]).sum())
    free = basis[:, rank:] if rank < len(basis) else basis[:, -1:]
    chosen: Tensor = free @ torch.randn(free.shape[1], generator=generator)
    direction: Tensor = chosen / chosen.norm()
    return direction


def _first(model: AudioVideoTransformer) -> GatedAttention:
    return cast(Layer, model.block.layers[0]).attention


def _expert(linear: ExpertLinear, modality: Modality) -> Tensor:
    return linear.expert(modality)


def _rows(model: AudioVideoTransformer, part: int, head: int) -> slice:
    """Rows of one expert's linear_qkv: part 0 queries, 1 keys, 2 values of a head."""
    size = model.size
    start = (0, size.num_heads, size.num_heads + size.num_kv_heads)[part] + head
    return slice(start * size.head_dim, (start + 1) * size.head_dim)


def _gate(model: AudioVideoTransformer, head: int) -> int:
    size = model.size
    return (size.num_heads + 2 * size.num_kv_heads) * size.head_dim + head


def _place(model: AudioVideoTransformer, axis: int, band: int) -> int:
    """The first channel of a rotary pair within a head."""
    return axis * (model.size.head_dim // 8) + band
