"""The network of the small text encoder: parts of words in, logits of the values of engine.embedded.meaning out.

A word is the sum of its parts (engine.embedded.codecs.text_reading), seen with its neighbours. Layers of attention
follow, in which half of the heads look back and half ahead: so the network knows which of two things is named first, at
any length. One learned query for each token and group then reads what it needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.embedded.codecs.text_reading import ROWS
from engine.embedded.meaning import GROUPS

HEADS = tuple((token, group) for group in GROUPS for token in group.tokens)
NUM_OUTPUTS = 1 + max(len(group.values) for group in GROUPS)  # "off" is the first
HEAD_WIDTH = 24
SLOPES = (0.5, 0.0)  # how much each word between weakens attention, of the heads in turn
FAR = -1e4  # of what is not to be looked at


class TextNetwork(nn.Module):
    """Parts of words int64 [B, N, parts], 0 for none, -> logits float32 [B, heads, outputs].

    A word without parts is none. Logits of outputs that a group does not have are very low.
    """

    def __init__(self, embedding: int = 64, width: int = 96, layers: int = 2) -> None:
        super().__init__()
        self.parts = nn.EmbeddingBag(ROWS, embedding, mode="sum", padding_idx=0)
        nn.init.normal_(self.parts.weight, std=0.5)
        self.letters = nn.LayerNorm(embedding)
        self.words = nn.Conv1d(embedding, width, 3, padding=1)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(len(HEADS), width) / 2)
        self.keys = nn.Linear(width, 2 * width)
        self.read = nn.Linear(width, width)
        self.mlp = _mlp(width)
        self.last = nn.LayerNorm(width)
        self.outputs = nn.Parameter(torch.randn(len(HEADS), width, NUM_OUTPUTS) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(HEADS), NUM_OUTPUTS))
        sizes = torch.tensor([len(group.values) for _, group in HEADS])
        self.register_buffer("absent", torch.arange(NUM_OUTPUTS) > sizes[:, None], persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        there = words[:, :, 0] != 0
        letters = self.letters(self.parts(words.flatten(0, 1))).unflatten(0, there.shape) * there[..., None]
        tokens = self.words(letters.transpose(1, 2)).transpose(1, 2)
        unseen = torch.zeros(there.shape).masked_fill(~there, FAR)[:, None, None]
        bias = unseen + _sides(tokens.shape[1], tokens.shape[2] // HEAD_WIDTH)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        return self._answers(self.norm(tokens), unseen)

    def _answers(self, tokens: Tensor, unseen: Tensor) -> Tensor:
        queries = self.queries.expand(len(tokens), -1, -1)
        keys, values = self.keys(tokens).chunk(2, dim=-1)
        answers = queries + self.read(_attend(queries, keys, values, unseen))
        answers = self.last(answers + self.mlp(answers))
        logits = torch.einsum("bhw,hwo->bho", answers, self.outputs) + self.bias
        return logits.masked_fill(self.get_buffer("absent"), FAR)


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = _mlp(width)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        queries, keys, values = self.project(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + self.out(_attend(queries, keys, values, bias))
        return tokens + self.mlp(tokens)  # type: ignore[no-any-return]


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """[B, M, w] of [B, N, w]; `bias` spreads to [B, heads, M, N]."""
    seen = F.scaled_dot_product_attention(_split(queries), _split(keys), _split(values), attn_mask=bias)
    return seen.transpose(1, 2).flatten(-2)


def _split(part: Tensor) -> Tensor:
    """[B, N, w] -> [B, heads, N, w / heads]."""
    batch, length, width = part.shape
    return part.reshape(batch, length, width // HEAD_WIDTH, HEAD_WIDTH).transpose(1, 2)


def _sides(length: int, heads: int) -> Tensor:
    """Even heads see what is before them and themselves, odd ones what is behind: [heads, length, length]."""
    place = torch.arange(length)
    ahead = (place - place[:, None]).float()
    masks = []
    for head in range(heads):
        way = ahead if head % 2 else -ahead
        masks.append(torch.where(way < 0, FAR, -SLOPES[head // 2 % len(SLOPES)] * way))
    return torch.stack(masks)
