"""How many tasks each tenant runs at once, over all gangs, against how many it may.

A tenant that runs as many as it may is *full*: its tasks wait where they are, and its flows are parked until one of its
tasks has left the ranks. What it could not begin in any case is *held*: no work for anybody, so others are not made
narrower for it. Every question and every change takes O(1) and, when a tenant is full no more, what is parked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from deployment.scheduler.values import GangState
from hhray.tasks import QueuedTask


class RunningCaps:
    """`most` by tenant, `default_most` for others; 0 is no limit.

    It knows what gangs said when they last asked and what was begun since. A clip whose file is being written runs no
    more; one that is paused does. After a restart of the router a gang counts once it has asked.
    """

    def __init__(self, most: Mapping[str, int], default_most: int) -> None:
        self._most, self._default = most, default_most
        self._running: dict[str, int] = {}
        self._tenants: dict[str, dict[str, str]] = {}
        self._full: set[str] = set()
        self._parked: dict[str, list[Callable[[], None]]] = {}
        self._work: dict[str, tuple[int, float]] = {}
        self._held: dict[str, tuple[int, float]] = {}
        self.held_tasks = 0
        self.held_gpu_seconds = 0.0

    def is_full(self, tenant: str) -> bool:
        """Whether nothing of the tenant may be begun now."""
        return tenant in self._full

    def park(self, tenant: str, show: Callable[[], None]) -> None:
        """Call `show` when the tenant is no longer full."""
        self._parked.setdefault(tenant, []).append(show)

    def begun(self, tenant: str, tasks: int = 1) -> None:
        """So many tasks more run, or (negative) fewer."""
        most = self._most_of(tenant)
        if not most:
            return
        running = self._running[tenant] = self._running.get(tenant, 0) + tasks
        if running >= most:
            self._full.add(tenant)
        elif tenant in self._full:
            self._full.discard(tenant)
            for show in self._parked.pop(tenant, ()):
                show()
        if not running:
            del self._running[tenant]
        self._hold(tenant, most)

    def waits(self, task: QueuedTask, tasks: int = 1) -> None:
        """A task waits, or (-1) waits no more."""
        most = self._most_of(task.tenant)
        if not most:
            return
        count, seconds = self._work.get(task.tenant, (0, 0.0))
        self._work[task.tenant] = (count + tasks, seconds + tasks * task.gpu_seconds)
        if not count + tasks:
            del self._work[task.tenant]
        self._hold(task.tenant, most)

    def remember(self, gang: GangState) -> None:
        """A gang asked: what it says of its tasks counts from now on."""
        before, now = self._tenants.get(gang.engine_id, {}), {}
        for batch in gang.batches:
            tenants = batch.tenants or (batch.tenant,) * len(batch.task_ids)
            for task_id, tenant in zip(batch.task_ids, tenants, strict=True):
                now[task_id] = before.get(task_id) or tenant  # a batch that is being claimed names no tenant
        self._replace(gang.engine_id, before, now)

    def forget(self, engine_id: str) -> None:
        """The engine is gone, and what ran there."""
        self._replace(engine_id, self._tenants.get(engine_id, {}), {})
        self._tenants.pop(engine_id, None)

    def started(self, engine_id: str, tasks: Iterable[QueuedTask]) -> None:
        """These, which were counted as begun, are on that gang."""
        self._tenants.setdefault(engine_id, {}).update((task.task_id, task.tenant) for task in tasks)

    def _most_of(self, tenant: str) -> int:
        return self._most.get(tenant, self._default)

    def _replace(self, engine_id: str, before: Mapping[str, str], now: dict[str, str]) -> None:
        self._tenants[engine_id] = now
        for task_id in before.keys() - now.keys():
            self.begun(before[task_id], -1)
        for task_id in now.keys() - before.keys():
            self.begun(now[task_id])

    def _hold(self, tenant: str, most: int) -> None:
        """Of what waits, hold back what has no place."""
        count, seconds = self._work.get(tenant, (0, 0.0))
        held = max(0, count - max(0, most - self._running.get(tenant, 0)))
        before = self._held.pop(tenant, (0, 0.0))
        now = (held, seconds * held / count) if held else (0, 0.0)
        if held:
            self._held[tenant] = now
        self.held_tasks += now[0] - before[0]
        self.held_gpu_seconds = self.held_gpu_seconds + now[1] - before[1] if self._held else 0.0
