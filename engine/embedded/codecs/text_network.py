"""The network of the small text encoder: bytes in, for each group of engine.embedded.meaning the logits of its values.

Bytes are embedded, convolved at full length (which finds words, wherever they stand), and the strongest of every four
is kept. Layers of attention follow, in which half of the heads look back and half ahead: so the network knows which of
two things is named first, at any length. One learned query for each token and group then reads what it needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.embedded.meaning import GROUPS

HEADS = tuple((token, group) for group in GROUPS for token in group.tokens)
NUM_OUTPUTS = 1 + max(len(group.values) for group in GROUPS)  # "off" is the first
POOL = 4
HEAD_WIDTH = 32
SLOPES = (0.4, 0.0)  # how much a step of four bytes weakens attention, of the heads in turn
FAR = -1e4  # of what is not to be looked at; bfloat16 holds it


class TextNetwork(nn.Module):
    """bytes int64 [B, N] with true lengths int64 [B] -> logits float32 [B, heads, outputs].

    Logits of outputs that a group does not have are very low.
    """

    def __init__(self, embedding: int = 48, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, embedding)
        self.words = nn.Conv1d(embedding, width, 7, padding=3)
        self.phrases = nn.Conv1d(width, width, 3, padding=1)
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
        absent = torch.arange(NUM_OUTPUTS) > sizes[:, None]
        self.register_buffer("absent", absent, persistent=False)

    def forward(self, text: Tensor, lengths: Tensor) -> Tensor:
        text = F.pad(text, (0, -text.shape[1] % POOL))
        there = torch.arange(text.shape[1]) < lengths[:, None]
        letters = (self.embed(text) * there[..., None]).transpose(1, 2)
        found = F.gelu(self.words(letters)) * there[:, None]
        found = found + F.gelu(self.phrases(found))
        pooled = F.max_pool1d(found.masked_fill(~there[:, None], FAR), POOL).transpose(1, 2)
        kept = there[:, ::POOL]
        tokens = pooled.masked_fill(~kept[..., None], 0)
        unseen = torch.zeros(kept.shape, dtype=tokens.dtype).masked_fill(~kept, FAR)[:, None, None]
        bias = unseen + _sides(tokens.shape[1], tokens.shape[2] // HEAD_WIDTH).to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        return self._answers(self.norm(tokens), unseen)

    def _answers(self, tokens: Tensor, unseen: Tensor) -> Tensor:
        queries = self.queries.expand(len(tokens), -1, -1)
        keys, values = self.keys(tokens).chunk(2, dim=-1)
        answers = queries + self.read(_attend(queries, keys, values, unseen))
        answers = self.last(answers + self.mlp(answers))
        logits = torch.einsum("bhw,hwo->bho", answers, self.outputs) + self.bias
        return logits.float().masked_fill(self.get_buffer("absent"), FAR)


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
