"""Order of waiting tasks: deficit round robin over tenants in GPU-seconds, earliest due first inside a round.

A *flow* is a tenant's tasks of one priority. What it was given, in GPU-seconds divided by its weight, is its `spent`;
`spent // quantum` is the round it stands in. Flows of the lowest round go first, among them the earliest due task: so
urgency decides as long as nobody is a quantum ahead of his share. A flow that begins to wait starts where the queue
stands (no credit for the time it asked for nothing), and when nothing waits or runs any more all are even (start-time
fair queueing, Goyal et al. 1996; counters per tenant as in VTC, arXiv 2401.00588).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from deployment.scheduler.running_caps import RunningCaps
from hhray.tasks import QueuedTask

Flow = tuple[str, str]
# Plain tuples in the heaps: they are compared without a call into Python.
Item = tuple[tuple[float, int, int], "Waiting"]
Shown = tuple[float, tuple[float, int, int], "Waiting"]


@dataclass(slots=True, eq=False)
class Waiting:
    """A task in a queue. `order`: when it is due, then first come; `number` makes it unique. `live`: it still waits
    there; `late`: in the late lane."""

    task: QueuedTask
    flow: Flow
    order: tuple[float, int, int]
    late: bool = False
    live: bool = True

    @property
    def due(self) -> float:
        """What orders it among those of its lane."""
        return self.order[0]


@dataclass(slots=True)
class Accounts:
    """GPU-seconds by weight, given to every flow since nothing waited or ran; `level`: where the queue stands."""

    weight_of: Callable[[Flow], float]
    spent: dict[Flow, float] = field(default_factory=dict)
    level: float = 0.0

    def of(self, flow: Flow) -> float:
        """What the flow was given."""
        return self.spent.get(flow, self.level)

    def join(self, flow: Flow) -> None:
        """The flow begins to wait: no credit from before."""
        self.spent[flow] = max(self.of(flow), self.level)

    def charge(self, flow: Flow, gpu_seconds: float) -> None:
        """The flow was given work; the queue stands where the flow stood."""
        at = self.of(flow)
        self.level = max(self.level, at)
        self.spent[flow] = at + gpu_seconds / self.weight_of(flow)

    def settle(self) -> None:
        """Nothing waits or runs: all start even again."""
        self.spent.clear()
        self.level = 0.0


class FairQueue:
    """Waiting tasks by flow. A push, a look at the head and a pop are O(log n).

    What no longer waits, or not in this lane (`late` None: in either), is dropped when it comes to the head. Flows of a
    tenant that runs as many tasks as it may are parked until it does not.
    """

    def __init__(self, accounts: Accounts, quantum: float, late: bool | None, caps: RunningCaps) -> None:
        self._accounts, self._quantum, self._late, self._caps = accounts, quantum, late, caps
        self._flows: dict[Flow, list[Item]] = {}
        self._ring: list[Shown] = []
        self._shown: dict[Flow, Shown] = {}
        self._parked: set[Flow] = set()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def push(self, waiting: Waiting) -> None:
        """Add a task."""
        tasks = self._flows.setdefault(waiting.flow, [])
        heapq.heappush(tasks, (waiting.order, waiting))
        if tasks[0][1] is waiting and waiting.flow not in self._parked:
            self._show(waiting.flow)

    def head(self) -> Waiting | None:
        """The next task; None when there is none."""
        while self._ring:
            shown = self._ring[0]
            flow = shown[2].flow
            if self._shown.get(flow) is not shown:
                heapq.heappop(self._ring)  # the flow was shown anew since
                continue
            if self._caps.is_full(flow[0]):
                heapq.heappop(self._ring)
                del self._shown[flow]
                self._parked.add(flow)
                self._caps.park(flow[0], partial(self._unpark, flow))
                continue
            first = self._first(flow)
            if first is shown[2] and shown[0] == self._round(flow):
                return first
            if first is None:
                heapq.heappop(self._ring)
                del self._flows[flow], self._shown[flow]
            else:
                heapq.heapreplace(self._ring, self._now_shown(flow))
        return None

    def _first(self, flow: Flow) -> Waiting | None:
        tasks = self._flows[flow]
        while tasks and not (tasks[0][1].live and self._late in (None, tasks[0][1].late)):
            heapq.heappop(tasks)
        return tasks[0][1] if tasks else None

    def _round(self, flow: Flow) -> float:
        return self._accounts.of(flow) // self._quantum

    def _unpark(self, flow: Flow) -> None:
        self._parked.discard(flow)
        self._show(flow)

    def _show(self, flow: Flow) -> None:
        """Show the flow's first task in the ring, in the flow's round."""
        heapq.heappush(self._ring, self._now_shown(flow))

    def _now_shown(self, flow: Flow) -> Shown:
        shown = self._shown[flow] = (self._round(flow), *self._flows[flow][0])
        return shown
