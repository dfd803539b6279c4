"""What can be counted without computing: FLOPs, bytes exchanged, memory, and so what a projection would start from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.bench.arguments import Options
from engine.bench.decoding import VIDEO_DECODE, turbo_flops
from engine.bench.flops import step_flops
from engine.bench.projection import WORLD_SIZES, PassCost
from engine.bench.ways import network_dtype
from engine.bench.workload import Workload, pixels
from engine.weights import build_meta_model
from hhray.memory_plan import is_small, shared_activation_bytes
from hhray.served_model import Pass


def dry_facts(options: Options, work: Workload) -> dict[str, Any]:
    """Plain values; the network exists on the meta device only."""
    weights = list(build_meta_model(work.size).parameters())
    notes = [
        *work.notes,
        "memory of activations is what the memory plan counts with (hhray.memory_size), not measured",
    ]
    decoders = []
    if is_small(work.size):
        notes.append("the codecs of small presets are counted when they are measured, not in a dry run")
    else:
        size = str(pixels(work.decoded))
        decoders.append({"stage": VIDEO_DECODE, "size": size, "flops_per_step": {"counted": turbo_flops(work.decoded)}})
    return {
        "parameters": sum(weight.numel() for weight in weights),
        "weight_bytes": sum(weight.numel() * weight.element_size() for weight in weights),
        "stages": [*(_pass_facts(options, work, one) for one in work.passes), *decoders],
        "notes": notes,
    }


def _pass_facts(options: Options, work: Workload, one: Pass) -> dict[str, Any]:
    stream, size = work.stream(one), work.size
    cost = PassCost(one.stage.value, one.num_steps, 0.0, stream, size, network_dtype(options).itemsize, work.rule(one))
    flops = step_flops(size, stream, work.rule(one))
    link = options.link_gb_per_second * 1e9
    by_devices = []
    for world_size in WORLD_SIZES:
        tokens = max(stream.slice_sizes(world_size))
        sent = cost.bytes_per_step(world_size)
        by_devices.append(
            {
                "devices": world_size,
                "tokens": tokens,
                "flops_per_step": round(flops.total * tokens / stream.num_tokens),
                "bytes_sent_per_step": sent,
                "link_seconds_per_step": sent / link,
                "activation_bytes": shared_activation_bytes(size, stream.num_tokens, world_size, chunked_mlp=False),
            }
        )
    return {
        "stage": one.stage.value,
        "size": str(pixels(one.grid)),
        "tokens": stream.num_tokens,
        "steps_per_clip": one.num_steps,
        "flops_per_step": asdict(flops),
        "by_devices": by_devices,
    }
