"""What a memory plan asks of this machine: its card, and its host memory."""

from __future__ import annotations

import torch

from hhray.errors import ConfigError
from hhray.memory_parts import Gpu, MemoryPlan

FP8_CAPABILITY = (8, 9)


def require_host_memory(plan: MemoryPlan, ranks: int, total_bytes: int) -> None:
    """Nothing if the host holds what the ranks on it keep there, each its own copy.

    Raises:
        ConfigError: it does not; the message names what would need less.
    """
    if (needed := ranks * plan.host_bytes) > total_bytes:
        raise ConfigError(
            f"the memory plan keeps {plan.host_bytes / 1e9:.1f} GB of weights in host memory for each of {ranks} "
            f"rank(s), {needed / 1e9:.1f} GB in all, and this machine has {total_bytes / 1e9:.1f} GB; offer fewer "
            "tiers, or use GPUs with more memory"
        )


def card(device: torch.device) -> Gpu | None:
    """What the plan asks of a CUDA device; None for the CPU."""
    if device.type != "cuda":
        return None
    facts = torch.cuda.get_device_properties(device)
    vendor = "amd" if torch.version.hip else "nvidia"
    linked = "GeForce" not in facts.name  # since the 40 series none of them has NVLink
    return Gpu(facts.total_memory / 1e9, (facts.major, facts.minor) >= FP8_CAPABILITY, vendor, linked)
