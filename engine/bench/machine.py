"""What a figure was measured on: hardware and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

CPU_INFO = Path("/proc/cpuinfo")
DRIVER_INFO = Path("/proc/driver/nvidia/version")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Hardware, versions and how busy the machine was, as plain values; null or empty where nobody can tell."""
    on_cuda = device.type == "cuda"
    return {
        "device": device_name(device),
        "num_devices": torch.cuda.device_count() if on_cuda else 1,
        "device_memory_bytes": _device_bytes(device),
        "driver": _driver() if on_cuda else "",
        "cuda": torch.version.cuda if on_cuda else None,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "xformers": _version("xformers"),
        "hhray": _version("hhray"),
    }


def device_name(device: torch.device) -> str:
    """Of the card, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


def _device_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _cpu_name() -> str:
    text = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.is_file() else ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _driver() -> str:
    return DRIVER_INFO.read_text(encoding="utf-8").splitlines()[0] if DRIVER_INFO.is_file() else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
