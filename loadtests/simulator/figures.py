"""What a run says: latency in times alone by class, goodput, GPU-seconds beyond the least, fairness, decisions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hhray.geometry import Resolution
from hhray.request import ShapeKey
from loadtests.simulator.run import Ended, Record

GOALS = (1.5, 3.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed (nearest rank); NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def attained(values: Sequence[float], goal: float) -> float:
    """Share of clips within `goal` times their time alone; NaN of none."""
    return sum(value <= goal for value in values) / len(values) if values else math.nan


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1 when all are equal, 1/n when one has all (Jain, Chiu, Hawe 1984)."""
    squares = sum(value**2 for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else math.nan


def summary(records: Iterable[Record], seconds: float, ranks: int) -> dict[str, Any]:
    """The figures of the runs of one policy at one load, over all seeds. `seconds`: how long tasks arrived."""
    records = list(records)
    ended = [one for record in records for one in record.ended]
    alone = sum(one.task.gpu_seconds for one in ended)
    decisions = sum(record.decisions for record in records)
    decision_seconds = sum(record.decision_seconds for record in records)
    return {
        "clips": len(ended),
        "all": _class_figures(ended),
        **{resolution.value: _class_figures(_of(ended, resolution)) for resolution in Resolution},
        "extra_gpu_seconds": round(sum(record.rank_seconds for record in records) / alone - 1, 4),
        "pauses": sum(record.pauses for record in records),
        "moves": sum(record.moves for record in records),
        "batches": sum(record.batches for record in records),
        "fairness": round(min(fairness(record.ended, seconds, ranks) for record in records), 4),
        "tenants": _tenants(ended),
        "decisions": decisions,
        "decisions_per_second": round(decisions / decision_seconds),
        "slowest_decision_seconds": round(max(record.slowest_decision for record in records), 6),
    }


def fairness(ended: Sequence[Ended], seconds: float, ranks: int) -> float:
    """Jain's index over tenants of work done while tasks arrived / what an even division would give each."""
    asked: dict[str, float] = {}
    done: dict[str, float] = {}
    for one in ended:
        task = one.task
        asked[task.tenant] = asked.get(task.tenant, 0.0) + task.gpu_seconds
        if one.ended <= seconds:
            done[task.tenant] = done.get(task.tenant, 0.0) + task.gpu_seconds
    due = even_division(asked, seconds * ranks)
    return jain([done.get(tenant, 0.0) / due[tenant] for tenant in asked])


def even_division(asked: Mapping[str, float], room: float) -> dict[str, float]:
    """Max-min shares: nobody gets more than he asked for, and what he leaves is divided among the others."""
    given: dict[str, float] = {}
    for place, (tenant, wish) in enumerate(sorted(asked.items(), key=lambda item: item[1])):
        given[tenant] = min(wish, room / (len(asked) - place))
        room -= given[tenant]
    return given


def _class_figures(ended: Sequence[Ended]) -> dict[str, float]:
    values = [one.stretch for one in ended]
    return {
        "clips": len(values),
        **{f"p{share}": round(percentile(values, share / 100), 3) for share in (50, 95, 99)},
        **{f"within_{goal}x": round(attained(values, goal), 4) for goal in GOALS},
        "worst": round(max(values, default=math.nan), 2),
    }


def _of(ended: Iterable[Ended], resolution: Resolution) -> list[Ended]:
    return [one for one in ended if ShapeKey.parse(one.task.bucket).resolution is resolution]


def _tenants(ended: Iterable[Ended]) -> dict[str, dict[str, float]]:
    """Figures by tenant, of a scenario with more than one."""
    by_tenant: dict[str, list[Ended]] = {}
    for one in ended:
        by_tenant.setdefault(one.task.tenant, []).append(one)
    return {name: _class_figures(clips) for name, clips in sorted(by_tenant.items())} if len(by_tenant) > 1 else {}
