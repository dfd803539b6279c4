"""What `hhray inspect-checkpoint` tells: read from headers alone, so that 61 GB take a second."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from engine.checkpoint.capabilities import SPRITE, read_capabilities, read_codecs
from engine.checkpoint.contents import Contents, find_problems, nearest_known, read_contents
from engine.checkpoint.names import Part, find_release
from engine.checkpoint.shapes import expected_tensors
from engine.release import COMPONENTS, DECODERS, served_model
from engine.weights import build_meta_model
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.model_size import ModelSize

HEADROOM_BYTES = 10**9  # what a device needs beside the weights, at the very least


def inspect_checkpoint(root: Path) -> dict[str, Any]:
    """Plain facts about a release or a folder of weights.

    Keys: directory, layout, parts (one object a transformer, see `inspect_folder`), capabilities, components (of each
    other part, see `inspect_components`), servable and why_not (see `why_not_servable`), memory (one object a
    device, see `memory_fitness`; it asks for one transformer, the largest).

    Raises:
        ConfigError: there is no such directory, nothing known is in it, or its hhray.json is wrong.
    """
    release = find_release(root)
    parts = {name: inspect_folder(folder) for name, folder in release.folders.items()}
    abilities = {name: asdict(read_capabilities(folder, root)) for name, folder in release.folders.items()}
    for name, part in parts.items():
        part["capabilities"] = abilities[name]
    why_not = why_not_servable(root)
    needed = max(part["loaded_bytes"] for part in parts.values())
    return {
        "directory": str(root),
        "layout": str(release.layout),
        "parts": parts,
        "components": inspect_components(root),
        "servable": not why_not,
        "why_not": why_not,
        "memory": memory_fitness(needed),
        "problems": sum(len(part["problems"]) for part in parts.values()),
    }


def inspect_components(root: Path) -> dict[str, str]:
    """Of each component beside the transformers "present", "small codec", "stand-in" or "absent".

    Raises:
        ConfigError: hhray.json is wrong.
    """
    codecs, states = read_codecs(root), {}
    for name, kind in COMPONENTS.items():
        if kind in codecs:
            states[name] = "small codec" if codecs[kind] == SPRITE else "stand-in"
        else:
            states[name] = "present" if (root / name).is_dir() else "absent"
    return states


def why_not_servable(root: Path) -> str:
    """What keeps a server from running with this directory, whichever its decoder; empty if nothing does."""
    wishes = {Resolution.P720: Part.SR_540P, Resolution.P1080: Part.SR_1080P}
    reasons = []
    for decoder in DECODERS:
        try:
            served_model(root, "", wishes, decoder=decoder)
        except ConfigError as error:
            reasons.append(error.message)
    return reasons[0] if len(reasons) == len(DECODERS) else ""


def inspect_folder(folder: Path) -> dict[str, Any]:
    """Files, tensors, parameters, bytes on disk by dtype, the preset it fits and what does not fit.

    `parameters` counts neither scales nor rotary bands; `loaded_bytes` is what the network takes on a device.
    """
    contents = read_contents(folder)
    size, nearest = nearest_known(contents)
    problems = find_problems(contents, expected_tensors(size))
    return {
        "folder": str(folder),
        "files": len(contents.files),
        "preset": "" if problems else size.name,
        "tensors": len(contents.weights),
        "parameters": sum(stored.num_elements for name, stored in contents.weights.items() if "rope.bands" not in name),
        "bytes": contents.num_bytes,
        "dtypes": _bytes_by_dtype(contents),
        "loaded_bytes": loaded_bytes(size),
        "nearest": nearest,
        "problems": problems,
    }


def loaded_bytes(size: ModelSize) -> int:
    """Bytes of the network in its compute dtypes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in build_meta_model(size).state_dict().values())


def memory_fitness(needed: int) -> list[dict[str, Any]]:
    """For the host and each CUDA device: free bytes, and whether `needed` bytes of weights and 1 GB more fit."""
    devices = [("cpu", psutil.virtual_memory().available)]
    devices += [(f"cuda:{index}", torch.cuda.mem_get_info(index)[0]) for index in range(torch.cuda.device_count())]
    return [
        {"device": name, "free_bytes": free, "needed_bytes": needed, "fits": free >= needed + HEADROOM_BYTES}
        for name, free in devices
    ]


def _bytes_by_dtype(contents: Contents) -> dict[str, int]:
    totals: dict[str, int] = {}
    for stored in contents.tensors.values():
        key = str(stored.dtype).removeprefix("torch.")
        totals[key] = totals.get(key, 0) + stored.num_bytes
    return totals
