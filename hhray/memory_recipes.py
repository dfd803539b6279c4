"""The ways to place components on a GPU, and the components each of them makes of a demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hhray.memory_parts import TRANSFORMER_STAGES, Component, Demand, Place, Stage
from hhray.memory_size import (
    ENCODER_BYTES,
    ENCODER_EMBEDDING_BYTES,
    ENCODER_LAYERS,
    VAE_BYTES,
    WEIGHT_BYTES,
    Format,
    largest_linear,
    transformer_bytes,
)

CODEC_OF = {"text encoder": "text", "video VAE": "video", "Turbo VAE": "video", "audio VAE": "sound"}
ALL_STAND_INS = frozenset(CODEC_OF.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to place the components."""

    weights: Format
    transformers: Place
    encoder: Place
    vaes: Place


def recipes(has_fp8: bool) -> Iterator[Recipe]:
    """From the best to the most frugal, for cards with or without float8 units."""
    small = Format.FP8 if has_fp8 else Format.INT8
    yield Recipe(Format.BF16, Place.RESIDENT, Place.RESIDENT, Place.RESIDENT)
    yield Recipe(Format.BF16, Place.RESIDENT, Place.OFFLOADED, Place.RESIDENT)
    yield Recipe(small, Place.RESIDENT, Place.RESIDENT, Place.RESIDENT)
    yield Recipe(small, Place.RESIDENT, Place.OFFLOADED, Place.RESIDENT)
    yield Recipe(small, Place.SWAPPED, Place.SWAPPED, Place.SWAPPED)


def components(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    """What is loaded for a demand, placed as the recipe says."""
    return (*_encoder(recipe, demand), *_transformers(recipe, demand), *_vaes(recipe, demand))


def _encoder(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    """The text encoder. Its linears and embeddings are in 8 bits where the transformers' are; never in float32."""
    if "text" in demand.stand_ins:
        return ()
    eight_bit = recipe.weights in (Format.FP8, Format.INT8)
    num_bytes = ENCODER_BYTES // 2 if eight_bit else ENCODER_BYTES
    working = num_bytes
    if recipe.encoder is Place.OFFLOADED:
        working = 2 * (ENCODER_BYTES - ENCODER_EMBEDDING_BYTES) // ENCODER_LAYERS  # one computes, one is copied
    weights = recipe.weights if eight_bit else Format.BF16
    return (_component("text encoder", Stage.TEXT, weights, recipe.encoder, num_bytes, working),)


def _transformers(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    used = {Stage.BASE} | {stage for tier, stage in demand.ladder.items() if tier in demand.tiers}
    num_bytes = working = transformer_bytes(demand.size, recipe.weights)
    if recipe.weights in (Format.FP8, Format.INT8):
        working += 2 * largest_linear(demand.size)  # 8-bit weights are expanded, one linear of one expert at a time
    return tuple(
        _component(stage, stage, recipe.weights, recipe.transformers, num_bytes, working)
        for stage in TRANSFORMER_STAGES
        if stage in used
    )


def _vaes(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    """The encoder of pictures works before the base stage, with the text encoder gone; the others decode."""
    absent = {name for name, kind in CODEC_OF.items() if kind in demand.stand_ins}
    absent |= {"Turbo VAE"} if demand.decoder == "wan" else set()
    weights = Format.FP32 if recipe.weights is Format.FP32 else Format.BF16
    size = WEIGHT_BYTES[weights] // WEIGHT_BYTES[Format.BF16]
    return tuple(
        _component(name, Stage.DECODE, weights, recipe.vaes, size * num_bytes, size * num_bytes)
        for name, num_bytes in VAE_BYTES.items()
        if name not in absent
    )


def _component(name: str, stage: Stage, weights: Format, place: Place, num_bytes: int, working: int) -> Component:
    return Component(name, stage, weights, place, num_bytes, 0 if place is Place.HOST else working)
