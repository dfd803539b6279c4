"""The tasks that wait, in the order in which they are to be begun.

Two lanes, each a `FairQueue`: tasks that can still be on time, and late ones. A task is found to be late when it comes
to the head; it then waits behind all others until it is old. Reserved tasks stand in a heap of their tenant besides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from deployment.scheduler.clips import Tier
from deployment.scheduler.fair_queue import Accounts, FairQueue, Flow, Item, Waiting
from deployment.scheduler.policy import Policy
from deployment.scheduler.running_caps import RunningCaps
from hhray.tasks import Priority, QueuedTask

# One look at the head moves no more tasks than this to the late lane; the next one goes on. Until then none of those
# that are left counts as on time, or a tenant whose turn it is would be late before the others.
MOST_MOVES = 8


@dataclass(frozen=True, slots=True)
class View:
    """What the order depends on besides the queue: the time, the fewest seconds a task of a bucket can take, whether
    there is room for old late tasks, and whether a tenant has ranks of its reserved share left."""

    now: float
    least_seconds: Callable[[str], float]
    room_for_aged: bool
    owns_ranks: Callable[[str], bool]


class WaitingTasks:
    """An index of the queue. It may lag behind the store: a claim is decided there, by compare-and-set."""

    def __init__(self, policy: Policy, packs: Callable[[QueuedTask], bool]) -> None:
        self._policy, self._packs = policy, packs
        self._live: dict[str, Waiting] = {}
        self._flow_sizes: dict[Flow, int] = {}
        self._accounts = Accounts(lambda flow: policy.weight(flow[0], Priority(flow[1])))
        self.caps = RunningCaps(policy.most_running, policy.default_most_running)
        self._on_time = FairQueue(self._accounts, policy.quantum_seconds, late=False, caps=self.caps)
        self._late = FairQueue(self._accounts, policy.quantum_seconds, late=True, caps=self.caps)
        self._reserved: dict[str, list[Item]] = {}
        self._buckets: dict[str, FairQueue] = {}
        self._entered = 0
        self.gpu_seconds = 0.0

    def __len__(self) -> int:
        return len(self._live)

    @property
    def open_tasks(self) -> int:
        """Tasks that wait for ranks, not for their tenant to run fewer."""
        return len(self._live) - self.caps.held_tasks

    @property
    def open_gpu_seconds(self) -> float:
        """The work of these."""
        return max(0.0, self.gpu_seconds - self.caps.held_gpu_seconds)

    def add(self, tasks: Iterable[QueuedTask]) -> None:
        """Add tasks; one that waits already is left where it is."""
        for task in tasks:
            if task.task_id not in self._live:
                self._enter(task, self._policy.due(task.submitted_at, task.gpu_seconds, task.deadline), late=False)

    def discard(self, task_id: str) -> None:
        """Forget a task, if it waits."""
        waiting = self._live.get(task_id)
        if waiting is not None:
            self._leave(waiting)

    def replace(self, tasks: Iterable[QueuedTask]) -> None:
        """Become exactly these tasks."""
        wanted = {task.task_id: task for task in tasks}
        for task_id in [task_id for task_id in self._live if task_id not in wanted]:
            self.discard(task_id)
        self.add(wanted.values())

    def head(self, view: View) -> tuple[Tier, Waiting] | None:
        """The next task; None when nothing waits."""
        for tenant in list(self._reserved):
            first = None if self.caps.is_full(tenant) else self._first(self._reserved, tenant)
            if first is not None and view.owns_ranks(tenant):
                return Tier.RESERVED, first
        late = self._late.head()
        if late is not None and view.room_for_aged and late.due <= view.now:
            return Tier.AGED, late
        on_time = self._head_on_time(view)
        if on_time is not None:
            return Tier.ON_TIME, on_time
        late = self._late.head()
        return (Tier.LATE, late) if late is not None else None

    def take(self, waiting: Waiting) -> None:
        """It leaves the queue, and its flow is charged."""
        self._accounts.charge(waiting.flow, waiting.task.gpu_seconds)
        self._leave(waiting)
        self.caps.begun(waiting.task.tenant)

    def put_back(self, waiting: Waiting) -> None:
        """It was taken and found no place: as if it never had been."""
        self._accounts.charge(waiting.flow, -waiting.task.gpu_seconds)
        self.caps.begun(waiting.task.tenant, -1)
        self._enter(waiting.task, waiting.due, waiting.late)

    def given(self, tenant: str) -> float:
        """GPU-seconds by weight that a tenant was given: of its priorities, that with the least."""
        given = [self._accounts.spent.get((tenant, priority.value)) for priority in Priority]
        known = [one for one in given if one is not None]
        return min(known) if known else self._accounts.level

    def given_with(self, waiting: Waiting) -> float:
        """What the task's flow was given, and the task."""
        flow = waiting.flow
        return self._accounts.of(flow) + waiting.task.gpu_seconds / self._accounts.weight_of(flow)

    def settle(self, at_rest: bool) -> None:
        """When nothing waits, and nothing runs either (`at_rest`), all flows start even again.

        What runs counts: whoever has all the ranks is ahead of whoever comes next.
        """
        if not self._live:
            self._flow_sizes.clear()
            self.gpu_seconds = 0.0
            if at_rest:
                self._accounts.settle()

    def take_companions(self, bucket: str, most: int) -> list[Waiting]:
        """Take up to `most` tasks of a bucket that may run in one batch, the earliest due first."""
        found: list[Waiting] = []
        queue = self._buckets.get(bucket)
        while queue is not None and len(found) < most and (first := queue.head()) is not None:
            self.take(first)
            found.append(first)
        if queue is not None and not queue:
            del self._buckets[bucket]
        return found

    def _enter(self, task: QueuedTask, due: float, late: bool) -> None:
        flow = (task.tenant, task.priority.value)
        self._entered += 1
        waiting = Waiting(task, flow, (due, task.sequence, self._entered), late)
        if not self._flow_sizes.get(flow):
            self._accounts.join(flow)
        self._flow_sizes[flow] = self._flow_sizes.get(flow, 0) + 1
        self._live[task.task_id] = waiting
        self.gpu_seconds += task.gpu_seconds
        self.caps.waits(task)
        (self._late if late else self._on_time).push(waiting)
        if task.reserved and task.tenant in self._policy.reserved:
            heapq.heappush(self._reserved.setdefault(task.tenant, []), (waiting.order, waiting))
        if self._packs(task):
            if task.bucket not in self._buckets:  # one round for all: the earliest due first
                self._buckets[task.bucket] = FairQueue(self._accounts, inf, late=None, caps=self.caps)
            self._buckets[task.bucket].push(waiting)

    def _leave(self, waiting: Waiting) -> None:
        waiting.live = False
        del self._live[waiting.task.task_id]
        self.gpu_seconds -= waiting.task.gpu_seconds
        self._flow_sizes[waiting.flow] -= 1
        self.caps.waits(waiting.task, -1)

    def _head_on_time(self, view: View) -> Waiting | None:
        """The first task that can still be on time; those before it that cannot move to the late lane."""
        for _ in range(MOST_MOVES):
            first = self._on_time.head()
            if first is None or not self._is_late(first.task, view):
                return first
            due = self._policy.aged_at(first.task.submitted_at, first.task.gpu_seconds)
            first.order, first.late = (due, *first.order[1:]), True
            self._late.push(first)
        return None

    def _is_late(self, task: QueuedTask, view: View) -> bool:
        last_end = self._policy.last_end(task.submitted_at, task.gpu_seconds, task.deadline)
        return view.now + view.least_seconds(task.bucket) > last_end

    @staticmethod
    def _first(heaps: dict[str, list[Item]], name: str) -> Waiting | None:
        heap = heaps.get(name, [])
        while heap and not heap[0][1].live:
            heapq.heappop(heap)
        if not heap:
            heaps.pop(name, None)
        return heap[0][1] if heap else None
