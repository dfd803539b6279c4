"""What a figure was measured on: hardware and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

from engine.hardware import cpu_name, device_name, driver_version


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Hardware, versions and how busy the machine was, as plain values; null or empty where nobody can tell."""
    on_cuda = device.type == "cuda"
    return {
        "device": device_name(device),
        "num_devices": torch.cuda.device_count() if on_cuda else 1,
        "device_memory_bytes": _device_bytes(device),
        "driver": driver_version(device),
        "cuda": torch.version.cuda if on_cuda else None,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "xformers": _version("xformers"),
        "hhray": _version("hhray"),
    }


def _device_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
