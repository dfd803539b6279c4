"""What this machine computes on: names and versions that figures, and compiled kernels, belong to."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
DRIVER_INFO = Path("/proc/driver/nvidia/version")


def device_name(device: torch.device) -> str:
    """Of the card, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def cpu_name() -> str:
    """Of the processor, as well as the system knows it."""
    text = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.is_file() else ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def gpu_name(device: torch.device) -> str:
    """What names one card of all machines: its UUID; empty for the CPU."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else ""


def driver_version(device: torch.device) -> str:
    """The GPU driver's own line about itself; empty for the CPU, and where nobody can tell."""
    if device.type != "cuda" or not DRIVER_INFO.is_file():
        return ""
    return DRIVER_INFO.read_text(encoding="utf-8").partition("\n")[0]
