"""On how many ranks a clip runs: the smallest block that meets its target when busy, the widest efficient when idle."""

from __future__ import annotations

from dataclasses import dataclass

from deployment.scheduler.clips import Clip
from deployment.scheduler.policy import Policy


@dataclass(frozen=True, slots=True)
class Degrees:
    """The rules of one instant: time and backlog (seconds of work per rank)."""

    policy: Policy
    now: float
    backlog: float

    def wanted(self, clip: Clip, share: float) -> int:
        """The ranks a clip is to have before leftovers are dealt out; `share` is an even part of the free ranks.

        As many as it needs to meet its target, no fewer than the share, no more than are efficient now; more than that
        only when its next unit would hold them for too long.
        """
        if clip.fixed_degree:
            return fitting(clip, clip.fixed_degree)
        policy = self.policy
        least = policy.min_degree if self.backlog < policy.narrow_backlog_seconds else 1
        aim = max(least, share, self.in_time(clip))
        degree = fitting(clip, min(aim, self.widest(clip)))
        return next(wide for wide in clip.profile.degrees if wide >= degree and not self.is_too_slow(clip, wide))

    def in_time(self, clip: Clip) -> int:
        """The fewest ranks on which it meets its target, else its deadline. A short clip that misses its target gets
        the most: it needs them for a moment only."""
        for end in (clip.target, clip.last_end):
            for degree in clip.profile.degrees:
                if self.now + clip.left(degree) <= end:
                    return degree
            if clip.short:
                return clip.profile.degrees[-1]
        return clip.profile.degrees[0]

    def widest(self, clip: Clip) -> int:
        """The most ranks worth giving to its next unit; its own work is no backlog."""
        if clip.fixed_degree:
            return fitting(clip, clip.fixed_degree)
        others = self.backlog - clip.left(1) / clip.profile.degrees[-1]
        return clip.profile.widest(clip.units_done, self.policy.efficiency_floor(others))

    def is_too_slow(self, clip: Clip, degree: int) -> bool:
        """Whether its next unit would hold so few ranks for longer than any unit may: half a gang is always enough."""
        if clip.fixed_degree or clip.step(degree) <= self.policy.longest_step_seconds:
            return False
        return degree < fitting(clip, clip.profile.degrees[-1] // 2)


def fitting(clip: Clip, ranks: float) -> int:
    """The largest block of at most so many ranks, else the smallest on which it fits."""
    degrees = clip.profile.degrees
    return max(degree for degree in degrees if degree == degrees[0] or degree <= ranks)
