"""Names that other programs give to the same tensors, made those of the published layout.

Single files keep a network behind a prefix, beside tensors of other networks, which are left out. Scaled float8 files
name a weight's scale in one of three ways, and may come with what is not needed here: static scales of activations
(tokens are quantised by their own largest value), an empty tensor that marks the file, and a note about each layer.
Only scales that multiply, one a tensor or one a row, have these names; others stay unexpected tensors, so that their
files are refused. int8 weights of other programs are refused too: some are rotated, which no name tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from engine.checkpoint.header import StoredTensor
from engine.checkpoint.names import FP8_SCALE

ENDS = ("final_linear_video.weight", "adapter.video_embedder.weight")  # of names every network has
WEIGHT = ".weight"
SCALE_SPELLINGS = (".scale_weight", ".weight_scale")  # in place of ".weight"
ACTIVATION_SCALES = (".scale_input", ".input_scale")
MARKER = "scaled_fp8"


def published_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors of one network under the published names."""
    prefix = common_prefix(tensors)
    bare = {name.removeprefix(prefix): stored for name, stored in tensors.items() if name.startswith(prefix)}
    float8 = {name for name, stored in bare.items() if stored.code == "F8_E4M3"}
    named = {}
    for name, stored in bare.items():
        if name == MARKER and not stored.num_elements > 2:  # empty, or two zeros
            continue
        weight = _scaled_weight(name, (*SCALE_SPELLINGS, *ACTIVATION_SCALES))
        if weight in float8 and name.endswith(ACTIVATION_SCALES):
            continue
        ours = weight + FP8_SCALE if weight in float8 and weight + FP8_SCALE not in bare else name
        # two spellings of one scale: the second keeps its name, and is reported as unexpected
        ours = name if ours in named else ours
        named[ours] = replace(stored, name=ours)
    return named


def common_prefix(names: Iterable[str]) -> str:
    """What stands before the published names; empty where nothing does, or two networks have prefixes of their own."""
    found = {name.removesuffix(end) for name in names for end in ENDS if name.endswith(end)}
    return found.pop() if len(found) == 1 else ""


def _scaled_weight(name: str, spellings: tuple[str, ...]) -> str:
    """The weight that a tensor of this name scales; empty where its name is another."""
    return next((name.removesuffix(end) + WEIGHT for end in spellings if name.endswith(end)), "")
