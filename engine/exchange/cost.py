"""What an exchange sends, by formula, and the one that sends least: pure functions of shapes.

With s tokens on this rank, S in its group, U and G the Ulysses and gather degrees, H query and K key heads of D
channels, and r rows of this group's keys that the other groups see, summed over them, a rank sends in a layer

    s (U - 1) / U (H + 2 K) D + (S - s) H / U D     by heads, out and back
    + r 2 K / U D                                   keys and values

elements. Where everything is seen r = (G - 1) S. Bytes are compared by those of the rank that sends most: it is the
one all others wait for.
"""

from __future__ import annotations

import functools

from engine.exchange.plan import LayerPlan, layer_plan
from engine.local_attention import LocalRule
from engine.model.stream import Modality, TokenStream
from hhray.model_size import AUDIO_CHANNELS, PATCH_CHANNELS, ModelSize
from hhray.parallel_layout import ParallelLayout, possible_layouts

OUTPUT_CHANNELS = {Modality.VIDEO: PATCH_CHANNELS, Modality.AUDIO: AUDIO_CHANNELS}
OUTPUT_BYTES = 4  # velocities are float32


def layer_bytes(plan: LayerPlan, size: ModelSize, rank: int, element_bytes: int) -> int:
    """Bytes `rank` sends to others in one layer of that plan."""
    degree, group = plan.layout.ulysses, rank // plan.layout.ulysses
    heads, kv_heads = size.num_heads // degree, size.num_kv_heads // degree
    own = plan.tokens[rank]
    outward = own * (degree - 1) * (heads + 2 * kv_heads)
    homeward = (len(plan.held[group]) - own) * heads
    others = (other for other in range(plan.layout.gather) if other != group)
    rows = sum(len(part) for other in others for part in plan.fetched(group, other))
    return (outward + homeward + rows * 2 * kv_heads) * size.head_dim * element_bytes


def busiest_rank_bytes(plan: LayerPlan, size: ModelSize, element_bytes: int) -> int:
    """The most bytes any rank sends in one layer of that plan."""
    return max(layer_bytes(plan, size, rank, element_bytes) for rank in range(plan.layout.num_ranks))


@functools.lru_cache(maxsize=128)
def cheapest_layout(stream: TokenStream, size: ModelSize, num_ranks: int, window: int | None) -> ParallelLayout:
    """The layout whose busiest rank sends least in layers that see `window` frames to either side (None: everything).

    Of equals the one with most Ulysses: it splits the work evenly, whatever the tokens see.
    """
    layouts = possible_layouts(num_ranks, size)  # element bytes do not matter for the order
    return min(layouts, key=lambda layout: busiest_rank_bytes(layer_plan(stream, layout, window), size, 1))


def layer_plans(
    stream: TokenStream, size: ModelSize, num_ranks: int, rule: LocalRule | None, layout: ParallelLayout | None
) -> tuple[LayerPlan, ...]:
    """The plan of every layer: of the given layout, or else of the cheapest for the layer's kind.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    if layout is not None:
        layout.check(num_ranks, size)
    windows = [rule.window if rule and layer in rule.layers else None for layer in range(size.num_layers)]
    plans = {
        window: layer_plan(stream, layout or cheapest_layout(stream, size, num_ranks, window), window)
        for window in set(windows)
    }
    return tuple(plans[window] for window in windows)


def output_values(stream: TokenStream, rank: int, world_size: int) -> int:
    """Output numbers a rank computes: 192 a video token, 64 an audio token, none for text and conditions."""
    runs = stream.slice_for(rank, world_size)
    return sum(run.length * OUTPUT_CHANNELS[run.modality] for run in runs if run.output)


def step_bytes(
    stream: TokenStream,
    size: ModelSize,
    rank: int,
    world_size: int,
    element_bytes: int,
    rule: LocalRule | None = None,
    layout: ParallelLayout | None = None,
) -> int:
    """Bytes a rank sends to the others in one forward pass: in every layer, and its float32 outputs to each of them.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    plans = layer_plans(stream, size, world_size, rule, layout)
    gathered = (world_size - 1) * output_values(stream, rank, world_size) * OUTPUT_BYTES
    return sum(layer_bytes(plan, size, rank, element_bytes) for plan in plans) + gathered
