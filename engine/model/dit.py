"""The audio-video transformer: one stream of video, audio and text tokens, 4 + 32 + 4 layers (model specification 1).

Shapes: S tokens of this slice, H query heads, K key heads, D channels of a head. The residual stream is float32 from
end to end; linears and attention compute in the dtype given to the constructor. Attention is passed in, one function a
layer: its keys may lie on other ranks, and which layers see near frames only is no matter of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from engine.model.coordinates import rotate
from engine.model.layers import ExpertLinear, ExpertNorm, gelu7, swiglu7
from engine.model.pointwise import PLAIN
from engine.model.stream import Modality, Run
from hhray.model_size import AUDIO_CHANNELS, NUM_MODALITIES, PATCH_CHANNELS, ModelSize

ROTARY_BASE = 10000.0

# (q [S, H, D], k [S, K, D], v [S, K, D]) of this slice -> [S, H, D] of this slice
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class GatedAttention(nn.Module):
    """Grouped-query attention with normed heads, partial rotary positions and one sigmoid gate per query head."""

    def __init__(self, size: ModelSize, experts: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = size.num_heads, size.num_kv_heads, size.head_dim
        self.pre_norm = ExpertNorm(size.hidden, experts)
        self.linear_qkv = ExpertLinear(size.hidden, size.qkv_rows, experts, dtype)
        self.q_norm = ExpertNorm(size.head_dim, experts)
        self.k_norm = ExpertNorm(size.head_dim, experts)
        self.linear_proj = ExpertLinear(size.attention_width, size.hidden, experts, dtype)
        self.rotation = rotate
        self.pointwise = PLAIN

    def forward(self, x: Tensor, runs: Sequence[Run], rotary: tuple[Tensor, Tensor], attention: Attention) -> Tensor:
        dtype = self.linear_qkv.weight.dtype
        widths = [self.heads * self.head_dim, self.kv_heads * self.head_dim, self.kv_heads * self.head_dim, self.heads]
        fused = self.linear_qkv(self.pointwise.norm(x, self.pre_norm, runs, dtype), runs)
        # a linear may have been padded: see engine.arranged
        q, k, v, gate = torch.split(fused[:, : sum(widths)], widths, dim=1)
        heads, norms = (self._heads(q), self._heads(k)), (self.q_norm, self.k_norm)
        mixed = attention(*self.pointwise.heads(heads, norms, runs, rotary, self.rotation), self._heads(v))
        projected: Tensor = self.linear_proj(self.pointwise.gate(mixed, gate), runs)
        return projected

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (-1, self.head_dim))


class Mlp(nn.Module):
    """gelu7 in the first edge layers, the gated swiglu7 in all others."""

    def __init__(self, size: ModelSize, experts: int, dtype: torch.dtype, gated: bool) -> None:
        super().__init__()
        width = size.swiglu_width if gated else size.gelu_width
        self.activation = swiglu7 if gated else gelu7
        self.pointwise = PLAIN
        self.pre_norm = ExpertNorm(size.hidden, experts)
        self.up_gate_proj = ExpertLinear(size.hidden, 2 * width if gated else width, experts, dtype)
        self.down_proj = ExpertLinear(width, size.hidden, experts, dtype)

    def forward(self, x: Tensor, runs: Sequence[Run]) -> Tensor:
        dtype = self.up_gate_proj.weight.dtype
        wide = self.up_gate_proj(self.pointwise.norm(x, self.pre_norm, runs, dtype), runs)
        down: Tensor = self.down_proj(self.pointwise.activation(wide, self.activation), runs)
        return down


class Layer(nn.Module):
    """Attention, then MLP, each added to the float32 residual."""

    def __init__(self, size: ModelSize, index: int, dtype: torch.dtype) -> None:
        super().__init__()
        experts = NUM_MODALITIES if size.is_edge(index) else 1
        self.attention = GatedAttention(size, experts, dtype)
        self.mlp = Mlp(size, experts, dtype, gated=not size.uses_gelu(index))

    def forward(self, x: Tensor, runs: Sequence[Run], rotary: tuple[Tensor, Tensor], attention: Attention) -> Tensor:
        x = x + self.attention(x, runs, rotary, attention)
        updated: Tensor = x + self.mlp(x, runs)
        return updated


class Block(nn.Module):
    """All layers in order."""

    def __init__(self, size: ModelSize, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(size, index, dtype) for index in range(size.num_layers))

    def forward(
        self, x: Tensor, runs: Sequence[Run], rotary: tuple[Tensor, Tensor], attentions: Sequence[Attention]
    ) -> Tensor:
        for layer, attention in zip(self.layers, attentions, strict=True):
            x = layer(x, runs, rotary, attention)
        return x


class RotaryBands(nn.Module):
    """The frequencies of the rotary angles: 10000^(-j / n), n = head_dim / 8."""

    bands: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        count = head_dim // 8
        self.register_buffer("bands", ROTARY_BASE ** (-torch.arange(count, dtype=torch.float32) / count))


class Adapter(nn.Module):
    """One float32 embedder per modality, and the rotary frequencies."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.video_embedder = nn.Linear(PATCH_CHANNELS, size.hidden, dtype=torch.float32)
        self.text_embedder = nn.Linear(size.text_channels, size.hidden, dtype=torch.float32)
        self.audio_embedder = nn.Linear(AUDIO_CHANNELS, size.hidden, dtype=torch.float32)
        self.rope = RotaryBands(size.head_dim)

    def forward(self, tokens: Sequence[Tensor], runs: Sequence[Run]) -> Tensor:
        embedders = (self.video_embedder, self.audio_embedder, self.text_embedder)
        return torch.cat([embedders[run.modality](part) for part, run in zip(tokens, runs, strict=True)])


class AudioVideoTransformer(nn.Module):
    """The whole network. It never sees the time step: it reads the noise level from the data."""

    def __init__(self, size: ModelSize, dtype: torch.dtype) -> None:
        super().__init__()
        self.size = size
        self.adapter = Adapter(size)
        self.block = Block(size, dtype)
        self.final_norm_video = ExpertNorm(size.hidden, 1)
        self.final_norm_audio = ExpertNorm(size.hidden, 1)
        self.final_linear_video = nn.Linear(size.hidden, PATCH_CHANNELS, bias=False, dtype=torch.float32)
        self.final_linear_audio = nn.Linear(size.hidden, AUDIO_CHANNELS, bias=False, dtype=torch.float32)

    def forward(
        self,
        tokens: Sequence[Tensor],
        runs: Sequence[Run],
        rotary: tuple[Tensor, Tensor],
        attentions: Sequence[Attention],
    ) -> list[Tensor]:
        """Velocities of one slice of the stream.

        Args:
            tokens: float32 rows of each run: video [n, 192], audio [n, 64] or text [n, text channels].
            runs: what the slice is made of.
            rotary: cosines and sines of the slice, each [S, 3 head_dim / 8].
            attentions: of each layer, the softmax attention of the slice's queries over the keys they see.

        Returns:
            float32 velocities of the runs with an output, in order: video [n, 192] (OUT order), audio [n, 64].
        """
        x = self.block(self.adapter(tokens, runs), runs, rotary, attentions)
        outputs = []
        for part, run in zip(torch.split(x, [run.length for run in runs]), runs, strict=True):
            if not run.output:
                continue
            if run.modality is Modality.VIDEO:
                outputs.append(self.final_linear_video(self.final_norm_video(part, (run,))))
            else:
                outputs.append(self.final_linear_audio(self.final_norm_audio(part, (run,))))
        return outputs
