"""The verb plan-memory: what lies where on a GPU, before anything is loaded."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction

from hhray.console import result_console, table
from hhray.geometry import DURATIONS, Resolution
from hhray.memory_parts import GPUS, Demand, Gpu, MemoryPlan
from hhray.memory_plan import is_small, plan_memory
from hhray.memory_recipes import ALL_STAND_INS
from hhray.memory_size import Format
from hhray.model_size import EMBEDDED, EMBEDDED_SHARE, PRESETS, preset
from hhray.verb import Verb


def _configure(parser: argparse.ArgumentParser) -> None:
    card = parser.add_mutually_exclusive_group(required=True)
    card.add_argument("--gpu", choices=[*GPUS, "none"], help="a known card, or none: the CPU")
    card.add_argument("--gpu-gb", type=float, metavar="GB", help="a card of so much memory, in GB of 10^9 bytes")
    parser.add_argument("--no-fp8", action="store_true", help="with --gpu-gb: the card has no FP8 units")
    parser.add_argument("--no-nvlink", action="store_true", help="with --gpu-gb: NVLink does not join the cards")
    parser.add_argument("--vendor", default="nvidia", help="with --gpu-gb: who made the card (default: nvidia)")
    parser.add_argument("--gpus", type=int, default=1, help="cards that share a clip: 1, 2, 4 or 8 (default: 1)")
    parser.add_argument(
        "--tier", action="append", choices=[tier.value for tier in Resolution], help="repeatable (default: all tiers)"
    )
    parser.add_argument(
        "--duration", type=int, default=5, choices=DURATIONS, metavar="SECONDS", help="longest clip (default: 5)"
    )
    formats = [kind.value for kind in (Format.BF16, Format.FP8, Format.INT8)]
    parser.add_argument("--precision", choices=formats, help="what linears are in (default: what fits best)")
    rounded = "whether attention rounds queries and keys to 8 bits (default: plain)"
    parser.add_argument("--attention-precision", choices=["plain", "int8"], default="plain", help=rounded)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="15b", help="model preset (default: 15b)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    if args.gpu_gb is not None:
        gpu: Gpu | None = Gpu(args.gpu_gb, not args.no_fp8, args.vendor, not args.no_nvlink)
    else:
        gpu = GPUS.get(args.gpu)
    tiers = tuple(Resolution(tier) for tier in args.tier or Resolution)
    size = preset(args.preset)
    stand_ins = ALL_STAND_INS if is_small(size) else frozenset()
    wanted = Format(args.precision) if args.precision else None
    share = EMBEDDED_SHARE if size.name == EMBEDDED else Fraction(1)
    demand = Demand(
        size,
        tiers,
        args.duration,
        args.gpus,
        stand_ins=stand_ins,
        native_share=share,
        precision=wanted,
        int8_attention=args.attention_precision == "int8",
    )
    plan = plan_memory(gpu, demand)
    if args.json:
        print(json.dumps(plan.as_json()))
    else:
        _show(plan)
    return 0


def _show(plan: MemoryPlan) -> None:
    console, stages = result_console(), list(plan.stage_bytes)
    rows = [
        (item.name, item.format, item.place, _gb(item.num_bytes), *(_gb(item.gpu_bytes(stage)) for stage in stages))
        for item in plan.components
    ]
    rows.append(
        ("activations, communicators, reserve", "", "", "", *(_gb(plan.other_bytes(stage)) for stage in stages))
    )
    rows.append(("peak", "", "", "", *(_gb(plan.stage_bytes[stage]) for stage in stages)))
    console.print(table(("component", "format", "place", "GB", *(f"GB in {stage}" for stage in stages)), rows))
    chunks = "; MLPs work on 8,192 tokens at a time" if plan.chunked_mlp else ""
    console.print(f"peak {_gb(plan.peak_bytes)} GB on the GPU, {_gb(plan.host_bytes)} GB in host memory{chunks}")


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f}"


VERBS: tuple[Verb, ...] = (Verb("plan-memory", "show which weights lie where on a GPU", _configure, _run),)
