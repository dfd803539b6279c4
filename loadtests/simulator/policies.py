"""The policies that a scenario may name: the shipped one, the ones to compare with, the shipped one less a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from deployment.scheduler.limits import BatchLimits
from deployment.scheduler.policy import Policy
from deployment.scheduler.scheduler import Scheduler
from deployment.scheduler.values import UnitCosts
from hhray.errors import ConfigError
from hhray.model_size import preset
from hhray.served_model import ServedModel
from loadtests.simulator.baselines import fifo, per_resolution
from loadtests.simulator.run import Decides

SHIPPED = Policy()
LIMITS = BatchLimits(ServedModel(preset("15b")), max_clips=4, max_tokens=8192)

# Each rule switched off in turn.
ABLATIONS: dict[str, Policy] = {
    "no preemption": replace(SHIPPED, max_pauses=0),
    "late clips not put behind": replace(SHIPPED, deadline_multiple=1000.0, aging_multiple=3.0, aged_share=0.0),
    "no limit on steps": replace(SHIPPED, longest_step_seconds=inf),
    "no target below the deadline": replace(SHIPPED, target_multiple=3.0, short_target_multiple=3.0),
    "blocks of one rank at any load": replace(SHIPPED, min_degree=1),
    "one rank a clip": replace(SHIPPED, min_degree=1, efficiency_floors=((inf, 1.01),), longest_step_seconds=inf),
    "width whatever the backlog": replace(SHIPPED, efficiency_floors=((inf, 0.45),)),
    "no aging": replace(SHIPPED, aging_multiple=inf),
    "unbounded aging": replace(SHIPPED, aged_share=1.0),
    "no packing": replace(SHIPPED, packing=False),
}


def make(name: str, costs: UnitCosts) -> Decides:
    """A policy by its name in a scenario.

    Raises:
        ConfigError: there is none of that name.
    """
    known: dict[str, Callable[[], Decides]] = {
        "scheduler": lambda: Scheduler(costs, SHIPPED, LIMITS),
        "fifo, degree 1": lambda: fifo(1),
        "fifo, degree 8": lambda: fifo(8),
        "degree per resolution": per_resolution,
    }
    if name in ABLATIONS:
        return Scheduler(costs, ABLATIONS[name], LIMITS)
    if name not in known:
        raise ConfigError(f"no policy is called {name!r}; there are: {', '.join([*known, *ABLATIONS])}")
    return known[name]()
