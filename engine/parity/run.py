"""Which cases a golden directory has, and running them: a case that cannot be run becomes a row that failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from engine.parity.forward import bfloat16_rows, forward_rows
from engine.parity.golden_set import GoldenSet
from engine.parity.report import Row, failure
from engine.parity.sampling import sampler_rows
from engine.parity.tables import schedule_rows, weight_rows
from engine.parity.turbo import turbo_rows
from hhray.errors import ConfigError, HhrayError

# A set with any sampler case has one of each of these.
SAMPLER_FAMILIES = (
    r"distill_\d+step_t2v",
    r"distill_\d+step_ti2v",
    r"base_\d+step_cfg_t2v",
    r"base_\d+step_cfg_ti2v",
    r"base_\d+step_cfg_a2v",
    r"sr_540p_\d+step",
    r"sr_1080p_local_\d+step",
)
# What damaged recordings raise inside torch and the JSON readers.
DAMAGE = (HhrayError, RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError)


@dataclass(frozen=True, slots=True)
class Case:
    """A named piece of work that gives rows."""

    name: str
    rows: Callable[[], list[Row]]

    def run(self) -> list[Row]:
        """Its rows, or the one that says why there are none."""
        try:
            with torch.inference_mode():
                return self.rows()
        except DAMAGE as error:
            reason = error.message if isinstance(error, HhrayError) else f"{type(error).__name__}: {error}"
            return [failure(self.name, "", reason)]


def cases(folder: Path, dtype: torch.dtype) -> list[Case]:
    """Everything to be checked in a golden directory; in bfloat16 the forward cases only.

    Raises:
        ConfigError: it has no readable index.
    """
    golden = GoldenSet(folder)
    if not golden.forward_names:
        raise ConfigError(f"{folder}/index.json lists no case; give a golden directory")
    if dtype is torch.bfloat16:
        return [Case(name, partial(bfloat16_rows, golden, name)) for name in golden.forward_names]
    return list(_float32_cases(golden))


def _float32_cases(golden: GoldenSet) -> Iterator[Case]:
    names = {path.name for path in golden.folder.iterdir()}
    stems = {name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")}
    turbo = sorted(
        {re.sub(r"(_weights)?\.(safetensors|json)$", "", name) for name in names if name.startswith("turbo_")}
    )
    forward = golden.forward_names
    yield Case("weights", partial(weight_rows, golden, "weights"))
    for name in forward:
        yield Case(name, partial(forward_rows, golden, name))
    samplers = sorted(stem for stem in stems - {"weights", "sr_weights", *forward} if not stem.startswith("turbo_"))
    if samplers or {"sr_weights.safetensors", "schedules.json"} & names:
        yield Case("schedules", partial(schedule_rows, golden))
        yield Case("sr_weights", partial(weight_rows, golden, "sr_weights"))
        for name in samplers:
            yield Case(name, partial(sampler_rows, golden, name))
        for family in SAMPLER_FAMILIES:
            if not any(re.fullmatch(family, name) for name in samplers):
                yield Case(family, partial(_missing, family))
    for name in turbo:
        yield Case(name, partial(turbo_rows, golden, name))


def _missing(family: str) -> list[Row]:
    raise ConfigError(f"a file {family}.safetensors is expected here, and missing")
