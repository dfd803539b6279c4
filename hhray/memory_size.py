"""Bytes of weights and activations, from a model's size alone (model specification 1.2, 5.4)."""

from __future__ import annotations

from enum import StrEnum

from hhray.model_size import AUDIO_CHANNELS, NUM_MODALITIES, PATCH_CHANNELS, ModelSize

GB = 10**9
CHUNK_TOKENS = 8192  # tokens an MLP works on at a time when activations must be small
PIECE_TOKENS = 4096  # tokens that are quantised at a time
SCALED_ALIGNMENT = 16  # float8 units take rows and columns in multiples of this
ENCODER_BYTES = 18_483_411_968  # T5Gemma encoder in bfloat16
ENCODER_EMBEDDING_BYTES = 2 * 256_000 * 3584  # looked up on the host when the encoder is offloaded
ENCODER_LAYERS = 42
ENCODER_ACTIVATION_BYTES = GB // 2
# of networks in bfloat16
VAE_BYTES = {"video VAE": 1_409_377_336, "Turbo VAE": 214_245_784, "audio VAE": 312_225_028}
# The decoder's largest activation at 1920x1088: 128 channels x 36 frames x 544 x 960 in bfloat16, in and out of a layer
DECODE_BYTES_PER_PIXEL = 2 * 128 * 36 * 2 / 4


class Format(StrEnum):
    """What weights are stored as."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"


WEIGHT_BYTES = {Format.FP32: 4, Format.BF16: 2, Format.FP8: 1, Format.INT8: 1}


def transformer_bytes(size: ModelSize, weights: Format, edge_experts: int = NUM_MODALITIES) -> int:
    """Bytes of one transformer: block linears as `weights`, everything else in float32 (specification 1.2).

    `edge_experts` are those that edge layers have: one a modality, unless a rank needs fewer (hhray.video_only).
    """
    layers = (layer_bytes(size, index, weights, edge_experts) for index in range(size.num_layers))
    return sum(layers) + outer_bytes(size)


def layer_bytes(size: ModelSize, index: int, weights: Format, edge_experts: int = NUM_MODALITIES) -> int:
    """Bytes of one layer of a transformer: all experts, scales and norms."""
    experts = edge_experts if size.is_edge(index) else 1
    rows = size.qkv_rows + 2 * size.hidden + _up_rows(size, index)
    scales = 4 * rows if weights in (Format.FP8, Format.INT8) else 0  # published float8 files have one a tensor only
    norms = 4 * 2 * (size.hidden + size.head_dim)
    return experts * (layer_linears(size, index) * WEIGHT_BYTES[weights] + scales + norms)


def outer_bytes(size: ModelSize) -> int:
    """Bytes of what a transformer has outside its layers."""
    embedders = size.hidden * (PATCH_CHANNELS + AUDIO_CHANNELS + size.text_channels + NUM_MODALITIES)
    heads = size.hidden * (PATCH_CHANNELS + AUDIO_CHANNELS + 2)
    return 4 * (embedders + heads + size.head_dim // 8)


def activation_bytes(size: ModelSize, num_tokens: int, chunked_mlp: bool, exchange: int | None = None) -> int:
    """Peak activations of one transformer on one rank that holds `num_tokens` tokens (specification 5.4).

    The larger of attention (float32 residual, fused qkvg, rotated q, k, v and the mixed values) and MLP (residual,
    bfloat16 input, the wide layer before and after the activation; chunked: of 8,192 tokens at a time, and the output).
    Where ranks share a clip, `exchange` bytes (hhray.memory_exchange) take the place of the mixed values.
    """
    residual, narrow = 4 * size.hidden, 2 * size.hidden
    heads = 2 * (size.attention_width + 2 * size.num_kv_heads * size.head_dim)
    mixed = num_tokens * 2 * size.attention_width if exchange is None else exchange
    attention = num_tokens * (residual + 2 * size.qkv_rows + heads) + mixed
    wide = 2 * 3 * size.swiglu_width
    if chunked_mlp:
        mlp = num_tokens * (residual + 2 * narrow) + min(num_tokens, CHUNK_TOKENS) * wide
    else:
        mlp = num_tokens * (residual + narrow + wide)
    return max(attention, mlp)


def _up_rows(size: ModelSize, index: int) -> int:
    return size.gelu_width if size.uses_gelu(index) else 2 * size.swiglu_width


def largest_linear(size: ModelSize) -> int:
    """Weights of the largest linear of one expert: what is expanded at a time from 8 bits."""
    return size.hidden * max(size.qkv_rows, *(_up_rows(size, index) for index in range(size.num_layers)))


def padding_bytes(size: ModelSize) -> int:
    """Zeros that all float8 linears of a transformer are padded with, so that rows and columns are multiples of 16."""
    total = 0
    for index in range(size.num_layers):
        experts = NUM_MODALITIES if size.is_edge(index) else 1
        shapes = (
            (size.qkv_rows, size.hidden),
            (size.hidden, size.attention_width),
            (_up_rows(size, index), size.hidden),
            (size.hidden, _width(size, index)),
        )
        total += experts * sum(_aligned(rows) * _aligned(columns) - rows * columns for rows, columns in shapes)
    return total


def eight_bit_workspace(size: ModelSize) -> int:
    """Bytes that a product with 8-bit weights needs beside its operands and its result, whichever way it is made.

    Either a linear of one expert is expanded to bfloat16; or tokens are divided by their scales, some thousand at a
    time in float32. (Their float8 copies lie where the wide layer of the MLP is counted, and are smaller.)
    """
    widest = max(_width(size, index) for index in range(size.num_layers))
    return max(2 * largest_linear(size), 4 * PIECE_TOKENS * widest)


def _aligned(number: int) -> int:
    return -(-number // SCALED_ALIGNMENT) * SCALED_ALIGNMENT


def _width(size: ModelSize, index: int) -> int:
    """Columns of the linear that goes down."""
    return size.gelu_width if size.uses_gelu(index) else size.swiglu_width


def layer_linears(size: ModelSize, index: int) -> int:
    """Weights of one expert's linears in a layer."""
    attention = size.hidden * (size.qkv_rows + size.attention_width)
    return attention + size.hidden * (_up_rows(size, index) + _width(size, index))
