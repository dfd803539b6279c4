"""Softmax attention of packed items and local windows by the fastest kernels this machine has.

`attend_blocks` is the one function. What each query sees is a `QueryBlock`; `biases_of` says the same in xformers' bias
classes, and every backend reads those. Which backend runs is decided by a probe, once, and by a measurement at warm-up.
"""

from engine.attention.attend import (
    Kernel,
    attend_blocks,
    attend_blocks_int8,
    attention_backends,
    attention_kernel,
    consider_compiled_attention,
    measure_attention,
    pin_attention,
)
from engine.attention.bias import biases_of
from engine.attention.blocks import QueryBlock, joined, rows_of
from engine.attention.head_kind import HeadKind
from engine.attention.merge import merge_partials

__all__ = [
    "HeadKind",
    "Kernel",
    "QueryBlock",
    "attend_blocks",
    "attend_blocks_int8",
    "attention_backends",
    "attention_kernel",
    "biases_of",
    "consider_compiled_attention",
    "joined",
    "measure_attention",
    "merge_partials",
    "pin_attention",
    "rows_of",
]
