"""What a rank will ask of attention, measured before the first clip, so that the fastest kernels are known by then."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from engine.attention import HeadKind, measure_attention
from engine.exchange.cost import layer_plans
from engine.local_attention import LocalRule
from engine.model.stream import ItemShape, TokenStream
from engine.stages import local_rule
from engine.weights import compute_dtype
from hhray.geometry import ClipGeometry, Ratio, Resolution
from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import ServedModel

MEASURED_SECONDS = 5  # of a clip; longer ones go by what was measured for this one
TEXT_TOKENS = 320


def measure_served(
    served: ServedModel,
    tiers: Iterable[Resolution],
    max_seconds: int,
    rank: int,
    world_size: int,
    device: torch.device,
    *,
    int8: bool = False,
) -> None:
    """Measure attention in every pass of a clip of each tier, as `rank` of `world_size` computes it.

    To be called on an idle device; its memory is given back. `int8`: with queries and keys that may be rounded.
    """
    seen = set()
    for tier in {Resolution.P256, *tiers}:
        geometry = ClipGeometry(tier, Ratio.R16_9, min(MEASURED_SECONDS, max_seconds))
        for one in served.passes(geometry):
            stream = TokenStream((ItemShape(one.grid, geometry.audio_latents, TEXT_TOKENS),))
            rule = local_rule(one.stage, served.size.num_layers)
            if (stream, rule) not in seen:
                seen.add((stream, rule))
                measure_layers(stream, served.size, rank, world_size, device, rule, int8=int8)
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure_layers(
    stream: TokenStream,
    size: ModelSize,
    rank: int,
    world_size: int,
    device: torch.device,
    rule: LocalRule | None = None,
    layout: ParallelLayout | None = None,
    *,
    int8: bool = False,
) -> None:
    """Measure attention in each kind of layer of one forward pass, as `rank` of `world_size` computes it.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    device = torch.empty(0, device=device).device  # "cuda" is one of several
    for plan in dict.fromkeys(layer_plans(stream, size, world_size, rule, layout)):
        degree = plan.layout.ulysses
        group = rank // degree
        heads, kv_heads = size.num_heads // degree, size.num_kv_heads // degree
        kind = HeadKind(device, compute_dtype(size), heads, kv_heads, size.head_dim, int8)
        if plan.blocks[group]:
            measure_attention(kind, plan.row_blocks(group), sum(map(len, plan.seen[group])))
