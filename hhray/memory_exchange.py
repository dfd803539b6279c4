"""Bytes that sharing a clip takes on a GPU: buffers of the exchange inside attention, and NCCL's own."""

from __future__ import annotations

import functools
from fractions import Fraction

from hhray.model_size import ModelSize
from hhray.parallel_layout import ParallelLayout, possible_layouts

ELEMENT_BYTES = 2  # queries, keys and values are exchanged in bfloat16
MIB = 2**20
# A process group takes memory on the device for as long as it lives, in proportion to NCCL's channels. Nobody measured
# it here: the figures are of public reports about GPUs that NVLink joins, and a ceiling for others of that kind.
# - The first all-to-all on 8 H100 took 3.28 GB (github.com/NVIDIA/nccl/issues/1685): buffers of 10 and of 2 MiB on 32
#   channels to each of 7 peers; one and two of them make up the sum. Fewer channels (NCCL_MAX_P2P_NCHANNELS) take less.
# - All else that a group of 2, or of more, took on an A100, an all-reduce included: 544 and 688 MB (issues/964 there).
# - GPUs that cannot reach each other directly: 2 channels to a peer, says NCCL's log in
#   github.com/ultralytics/ultralytics/issues/12905.
PEER_CHANNEL_BYTES = (10 + 2 + 2) * MIB
LINKED_CHANNELS, UNLINKED_CHANNELS = 32, 2
PAIR_BYTES, GROUP_BYTES = 544 * MIB, 688 * MIB


def exchange_bytes(size: ModelSize, num_tokens: int, layout: ParallelLayout) -> int:
    """The most bytes one layer's exchange takes on a rank at one time: all that is made of its own q, k and v.

    With s tokens on a rank, S in its group and N in all, U the Ulysses degree, H query and K key heads of D channels,
    in elements; r is what the group received by heads, S (H + 2 K) / U D, or nothing where U = 1:

        by heads, out   s (H + 2 K) D + r                sent, received
        keys, values    r + (G S + N) 2 K / U D          sent (a copy for each of G groups), received
        attention       r + N 2 K / U D + S H / U D      fetched keys and values, the outcome
        by heads, back  S H / U D + 2 s H D              the outcome, received, put in order

    What is in N or G only where there are several groups. Every rank is taken to see all N tokens: the one that holds
    audio and text does, in local layers too.

    Args:
        size: of the network.
        num_tokens: of the whole stream.
        layout: of the layer.
    """
    degree, gathers = layout.ulysses, layout.gather > 1
    queries, keys = size.num_heads * size.head_dim, 2 * size.num_kv_heads * size.head_dim
    own = -(-num_tokens // layout.num_ranks)
    group = min(degree * own, num_tokens)
    by_heads = group * (queries + keys) // degree if degree > 1 else 0
    fetched = num_tokens * keys // degree if gathers else 0
    sent = layout.gather * group * keys // degree if gathers else 0
    mixed = group * queries // degree
    moments = [by_heads + sent + fetched, by_heads + fetched + mixed]
    if degree > 1:
        moments += [own * (queries + keys) + by_heads, mixed + 2 * own * queries]
    return ELEMENT_BYTES * max(moments)


def int8_attention_bytes(size: ModelSize, num_tokens: int, layout: ParallelLayout) -> int:
    """What attention with queries and keys in 8 bits makes on a rank beside the exchange's buffers, per element:
    queries in int8 (1), keys without their mean and in int8 (3), values in whole blocks and in float16 (4)."""
    queries, keys = size.num_heads * size.head_dim, size.num_kv_heads * size.head_dim
    return -(-num_tokens // layout.num_ranks) * queries + 7 * num_tokens * keys // layout.ulysses


def planned_exchange_bytes(
    size: ModelSize,
    num_tokens: int,
    num_ranks: int,
    layout: ParallelLayout | None = None,
    int8_attention: bool = False,
) -> int:
    """`exchange_bytes` of the given layout, with those of 8-bit attention; without one, the most of those that may be
    chosen.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    if layout is not None:
        layout.check(num_ranks, size)
    layouts = (layout,) if layout else eligible_layouts(size, num_ranks)
    return max(
        exchange_bytes(size, num_tokens, one) + (int8_attention_bytes(size, num_tokens, one) if int8_attention else 0)
        for one in layouts
    )


@functools.cache
def eligible_layouts(size: ModelSize, num_ranks: int) -> tuple[ParallelLayout, ...]:
    """The layouts that the cheapest can be, whatever the shape: the one that sends least where all is seen, and those
    with less Ulysses, which layers that see near frames only may prefer, because there a halo is all they fetch.
    """
    layouts = possible_layouts(num_ranks, size)
    least = min(layouts, key=lambda layout: heads_sent(size, layout))
    return tuple(layout for layout in layouts if layout.ulysses <= least.ulysses)


def heads_sent(size: ModelSize, layout: ParallelLayout) -> Fraction:
    """Vectors of a head that a rank sends in a layer where everything is seen, for each token of its even slice:
    (U - 1) (2 H + 2 K) / U + (G - 1) 2 K."""
    degree, keys = layout.ulysses, 2 * size.num_kv_heads
    return Fraction((degree - 1) * (2 * size.num_heads + keys), degree) + (layout.gather - 1) * keys


def communicator_bytes(block_sizes: tuple[int, ...], linked: bool) -> int:
    """Device memory of the process groups of the blocks that one rank is in.

    Args:
        block_sizes: their numbers of ranks.
        linked: whether NVLink joins the GPUs.
    """
    shared = [count for count in block_sizes if count > 1]
    channels = LINKED_CHANNELS if linked else UNLINKED_CHANNELS
    fixed = sum(PAIR_BYTES if count == 2 else GROUP_BYTES for count in shared) * channels // LINKED_CHANNELS
    return fixed + sum(count - 1 for count in shared) * channels * PEER_CHANNEL_BYTES
