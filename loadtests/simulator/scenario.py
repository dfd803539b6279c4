"""A scenario: gangs, what is asked of them, and which policies are compared. Read from a YAML file of `scenarios/`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deployment.scheduler.values import UnitCosts
from hhray.errors import ConfigError
from hhray.geometry import Ratio, Resolution
from hhray.request import Mode, ShapeKey
from hhray.tasks import QueuedTask

SCENARIOS = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`minutes` of Poisson arrivals at each of `loads`, for each of `seeds`.

    A load of 1 is the capacity: ranks / mean seconds of a clip of the mix on one rank. `mix` is the share of each
    resolution, durations are equally likely. `tenants` is each tenant's share of the arrivals. A unit takes
    `switch_seconds` more after a change of block, and its seconds vary by `step_noise` (standard deviation of the
    logarithm), which the scheduler is not told.
    """

    name: str
    costs: str
    mix: dict[Resolution, float]
    durations: tuple[int, ...]
    loads: tuple[float, ...]
    seeds: tuple[int, ...]
    minutes: float
    policies: tuple[str, ...] = ("scheduler",)
    gangs: int = 1
    ranks: int = 8
    tenants: dict[str, float] = field(default_factory=lambda: {"tenant": 1.0})
    switch_seconds: float = 0.02
    step_noise: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """Read a scenario file.

        Raises:
            ConfigError: a field is missing, unknown or not of its kind.
        """
        raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        try:
            raw["mix"] = {Resolution(name): float(share) for name, share in raw["mix"].items()}
            for name in ("durations", "loads", "seeds", "policies"):
                raw[name] = tuple(raw[name])
            return cls(name=path.stem, **raw)
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(
                f"scenario {path}: {error}; the fields are those of loadtests.simulator.Scenario"
            ) from None

    def shapes(self) -> tuple[tuple[str, float], ...]:
        """Every bucket of the mix and its share of the arrivals."""
        return tuple(
            (str(ShapeKey(Mode.T2V, resolution, Ratio.R16_9, duration)), share / len(self.durations))
            for resolution, share in self.mix.items()
            for duration in self.durations
        )

    def capacity(self, costs: UnitCosts) -> float:
        """Clips a second that keep every rank busy when each runs on one."""
        mean = sum(share * costs.alone_seconds(bucket) for bucket, share in self.shapes())
        return self.gangs * self.ranks / mean

    def arrivals(self, costs: UnitCosts, load: float, seed: int) -> Iterator[QueuedTask]:
        """The tasks of one run, in order of time."""
        chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        rate = load * self.capacity(costs)
        buckets, weights = zip(*self.shapes(), strict=True)
        tenants, shares = list(self.tenants), list(self.tenants.values())
        now, number = 0.0, 0
        while (now := now + chance.expovariate(rate)) < 60 * self.minutes:
            number += 1
            bucket = chance.choices(buckets, weights)[0]
            tenant = chance.choices(tenants, shares)[0] if len(tenants) > 1 else tenants[0]
            yield QueuedTask(str(number), bucket, now, costs.alone_seconds(bucket), tenant, number)
