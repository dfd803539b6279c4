"""Numbers without a network: noise schedules, and the weights' names and shapes."""

from __future__ import annotations

import torch

from engine.parity.golden_set import GoldenSet
from engine.parity.report import FORWARD_TOLERANCE, Row, compare, failure
from engine.samplers.base import SHIFT, sigma_grid, timesteps
from engine.super_resolution import signal_levels
from hhray.errors import ConfigError


def schedule_rows(golden: GoldenSet) -> list[Row]:
    """schedules.json: noise levels and times of every number of steps, and the zero-SNR table.

    Raises:
        ConfigError: it is missing or not of that form.
    """
    recorded, case, rows = golden.json("schedules"), "schedules", []
    try:
        if recorded["shift"] != SHIFT:
            return [failure(case, "shift", f"recorded with shift {recorded['shift']}, ours is {SHIFT}")]
        for steps, schedule in recorded["schedules"].items():
            sigmas = sigma_grid(int(steps))
            for key, ours in (("sigmas", sigmas), ("timesteps", timesteps(sigmas))):
                theirs = torch.tensor(schedule[key], dtype=torch.float64)
                value = torch.tensor(ours, dtype=torch.float64)
                rows.append(compare(case, f"{key}.{steps}", value, theirs, FORWARD_TOLERANCE))
        levels, table = signal_levels(), recorded["zero_snr_sigma"]
        value = torch.tensor([levels[int(level)] for level in table], dtype=torch.float64)
        theirs = torch.tensor(list(table.values()), dtype=torch.float64)
        rows.append(compare(case, "zero_snr_sigma", value, theirs, FORWARD_TOLERANCE))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(f"schedules.json is not of the expected form: {error!r}") from error
    return rows


def weight_rows(golden: GoldenSet, name: str) -> list[Row]:
    """Names and shapes of a weights file against the index and the network; and all numbers finite.

    Raises:
        ConfigError: the file is missing, or not of the network's size.
    """
    golden.model(name, torch.float32)
    tensors = golden.file(name).tensors
    listed = {key: list(shape) for key, (shape, _) in golden.index["weight_shapes"].items()}
    if listed != {key: list(tensor.shape) for key, tensor in tensors.items()}:
        return [failure(name, "shapes", "the file's names and shapes are not those of `weight_shapes` in index.json")]
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        return [failure(name, "values", "not all weights are finite")]
    return []
