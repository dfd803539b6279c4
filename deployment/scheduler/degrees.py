"""On how many ranks a clip runs: the smallest block that meets its deadline when busy, the widest efficient when idle."""

from __future__ import annotations

from deployment.scheduler.clips import Clip
from deployment.scheduler.policy import Policy


def widest(clip: Clip, policy: Policy, backlog: float) -> int:
    """The most ranks worth giving to its next unit at that backlog (seconds of work per rank)."""
    floor = next(floor for below, floor in policy.efficiency_floors if backlog < below)
    best = 1
    for degree in clip.profile.degrees:
        if clip.profile.efficiency(clip.units_done, degree) >= floor:
            best = degree
    return best


def smallest_in_time(clip: Clip, now: float) -> int:
    """The fewest ranks that meet its target, else its deadline; 1 when nothing does."""
    for end in (clip.target, clip.last_end):
        for degree in clip.profile.degrees:
            if now + clip.left(degree) <= end:
                return degree
    return 1


def is_too_slow(clip: Clip, degree: int, policy: Policy) -> bool:
    """Whether its next unit would hold so few ranks for longer than any unit may."""
    return degree < clip.profile.degrees[-1] and clip.step(degree) > policy.longest_step_seconds


def wanted(clip: Clip, policy: Policy, backlog: float, now: float, share: float) -> int:
    """The ranks a clip is to begin with; what is left over is dealt out afterwards.

    `share` is an even part of the free ranks.
    """
    if clip.fixed_degree:
        return clip.fixed_degree
    least = policy.min_degree if backlog < policy.narrow_backlog_seconds else 1
    aim = max(least, smallest_in_time(clip, now), share)
    degrees, most = clip.profile.degrees, widest(clip, policy, backlog)
    degree = max(degree for degree in degrees if degree == 1 or degree <= min(aim, most))
    return next(d for d in degrees if d >= degree and not is_too_slow(clip, d, policy))
