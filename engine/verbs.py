"""Inspect verbs of the `hhray` command."""

from __future__ import annotations

import argparse
import json
from typing import Any

from engine.checkpoint.verbs import VERBS as CHECKPOINT_VERBS
from engine.fetch.verbs import VERBS as FETCH_VERBS
from engine.generate_verb import VERBS as GENERATE_VERBS
from hhray.cost_verbs import VERBS as COST_VERBS
from hhray.model_size import PRESETS, preset
from hhray.plan_verbs import VERBS as PLAN_VERBS
from hhray.verb import Verb


def inspect_model(name: str) -> dict[str, Any]:
    """Tensors, parameters, weights a token meets, and bytes by dtype of a preset, built without memory.

    Tensors and bytes include the rotary bands, which are stored but are no parameters.

    Raises:
        ConfigError: no such preset.
    """
    from engine.weights import build_meta_model

    size = preset(name)
    model = build_meta_model(size)
    num_bytes: dict[str, int] = {}
    tensors = model.state_dict()
    for tensor in tensors.values():
        dtype = str(tensor.dtype).removeprefix("torch.")
        num_bytes[dtype] = num_bytes.get(dtype, 0) + tensor.numel() * tensor.element_size()
    return {
        "preset": name,
        "tensors": len(tensors),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "weights_per_token": size.weights_per_token(),
        "bytes": num_bytes,
    }


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="model preset (default: tiny)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(arguments: argparse.Namespace) -> int:
    facts = inspect_model(arguments.preset)
    if arguments.json:
        print(json.dumps(facts))
        return 0
    print(f"preset             {facts['preset']}")
    for key in ("tensors", "parameters", "weights_per_token"):
        print(f"{key.replace('_', ' '):<18} {facts[key]:,}")
    for dtype, num_bytes in facts["bytes"].items():
        print(f"{'bytes ' + dtype:<18} {num_bytes:,}")
    return 0


VERBS: tuple[Verb, ...] = (
    Verb("inspect-model", "show the tensors and sizes of a model preset", _configure, _run),
    *GENERATE_VERBS,
    *CHECKPOINT_VERBS,
    *FETCH_VERBS,
    *PLAN_VERBS,
    *COST_VERBS,
)
