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
    eight_bit_workspace,
    layer_bytes,
    outer_bytes,
    padding_bytes,
    transformer_bytes,
)
from hhray.model_size import ModelSize

CODEC_OF = {"text encoder": "text", "video VAE": "video", "Turbo VAE": "video", "audio VAE": "sound"}
ALL_STAND_INS = frozenset(CODEC_OF.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to place the components: `base` and `fine` are the transformers of the base and of super-resolution.

    The text encoder is in 8 bits where they are, unless `exact_encoder`.
    """

    weights: Format
    base: Place
    fine: Place
    encoder: Place
    vaes: Place
    exact_encoder: bool = False


def recipes(has_fp8: bool, wanted: Format | None = None) -> Iterator[Recipe]:
    """From the best to the most frugal, for cards with or without float8 units; `wanted` weights only, if given."""
    stay = Place.RESIDENT
    if wanted is None:
        yield from _resident(Format.BF16)
    else:
        yield Recipe(wanted, stay, stay, stay, stay, exact_encoder=True)
    small = wanted or (Format.FP8 if has_fp8 else Format.INT8)
    yield from _resident(small)
    yield from _in_turns(small)


def _resident(weights: Format) -> Iterator[Recipe]:
    stay = Place.RESIDENT
    yield Recipe(weights, stay, stay, stay, stay)
    yield Recipe(weights, stay, stay, Place.OFFLOADED, stay)


def _in_turns(weights: Format) -> Iterator[Recipe]:
    """Super-resolution goes first to layers that come one by one: its steps are long, so that copies take no time."""
    swap, layers = Place.SWAPPED, Place.OFFLOADED
    yield Recipe(weights, swap, swap, swap, swap)
    yield Recipe(weights, swap, layers, swap, swap)
    yield Recipe(weights, layers, layers, swap, swap)


def components(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    """What is loaded for a demand, placed as the recipe says."""
    return (*_encoder(recipe, demand), *_transformers(recipe, demand), *_vaes(recipe, demand))


def _encoder(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    """The text encoder: its linears and embeddings in 8 bits or bfloat16, never in float32."""
    if "text" in demand.stand_ins:
        return ()
    eight_bit = recipe.weights in (Format.FP8, Format.INT8) and not recipe.exact_encoder
    num_bytes = ENCODER_BYTES // 2 if eight_bit else ENCODER_BYTES
    working = num_bytes
    if recipe.encoder is Place.OFFLOADED:
        working = 2 * (ENCODER_BYTES - ENCODER_EMBEDDING_BYTES) // ENCODER_LAYERS  # one computes, one is copied
    weights = recipe.weights if eight_bit else Format.BF16
    return (_component("text encoder", Stage.TEXT, weights, recipe.encoder, num_bytes, working),)


def _transformers(recipe: Recipe, demand: Demand) -> tuple[Component, ...]:
    used = {Stage.BASE} | {stage for tier, stage in demand.ladder.items() if tier in demand.tiers}
    padding = padding_bytes(demand.size) if recipe.weights is Format.FP8 else 0
    whole = transformer_bytes(demand.size, recipe.weights) + padding
    extra = eight_bit_workspace(demand.size) if recipe.weights in (Format.FP8, Format.INT8) else 0
    made = []
    for stage in TRANSFORMER_STAGES:
        if stage in used:
            place = recipe.base if stage is Stage.BASE else recipe.fine
            there = two_layers(demand.size, recipe.weights) + padding if place is Place.OFFLOADED else whole
            made.append(_component(stage, stage, recipe.weights, place, whole, there + extra))
    return tuple(made)


def two_layers(size: ModelSize, weights: Format) -> int:
    """Bytes of a transformer whose layers come one by one: one computes, the next is copied; and what is outside them.

    After the last layer the first one is copied, for the next step.
    """
    layers = [layer_bytes(size, index, weights) for index in range(size.num_layers)]
    pairs = zip(layers, layers[1:] + layers[:1], strict=True)
    return outer_bytes(size) + max(first + second for first, second in pairs)


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
