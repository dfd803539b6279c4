"""Sequence parallelism: how the ranks of a block share the attention of one token stream, and what that moves.

Every rank holds a contiguous slice of the stream. Outside attention a rank needs its own tokens only; inside it needs
keys that others hold. An exchange is a layer's attention seen from one rank: its own q, k and v in, its own outcome
out. All of them are made of two steps, which a ParallelLayout weighs against each other (heads.py, keys.py).
"""

from engine.exchange.batch import Exchange
from engine.exchange.cost import cheapest_layout, layer_bytes, output_values, step_bytes
from engine.exchange.link import DryLink, GroupLink, Link

__all__ = [
    "DryLink",
    "Exchange",
    "GroupLink",
    "Link",
    "cheapest_layout",
    "layer_bytes",
    "output_values",
    "step_bytes",
]
