"""Delete-my-data: everything that is kept of a tenant's tasks."""

from __future__ import annotations

import time
from collections.abc import Callable

from deployment.artifacts import ArtifactStore
from deployment.store.base import TaskStore

PAUSE_SECONDS = 0.1  # until a row that somebody is changing is free


def forget_tenant(
    store: TaskStore,
    artifacts: ArtifactStore,
    tenant: str,
    *,
    key_id: str = "",
    seconds: float = 60.0,
    on_removed: Callable[[int], None] = lambda count: None,  # noqa: ARG005 - nobody looks
) -> tuple[int, bool]:
    """Remove a tenant's tasks with prompts, inputs, results and clips; running ones are cancelled first. Its uploads,
    the keys of its creates and its webhook deliveries go, too.

    What stays: the sums of usage (numbers only, for the bill), and the audit log, which holds HMACs of prompts and
    hashes of results, never a prompt or a file. An engine that is making one of the clips finds its lease gone at the
    next renewal, and removes its own file. A create at the same time may leave a task behind: withdraw the keys first.

    Returns how many tasks were removed, and whether that is all; with False, call it again.

    Raises:
        StoreUnavailable, ArtifactsUnavailable: what was removed until then stays removed; call it again.
    """
    deadline, count = time.monotonic() + seconds, 0
    for upload_id in store.forget_uploads(tenant):
        artifacts.delete_task(upload_id, tenant)
    while True:
        removed, left = store.forget(tenant, key_id)
        for task_id in removed:
            artifacts.delete_task(task_id, tenant)
        count += len(removed)
        on_removed(count)
        if not left or time.monotonic() >= deadline:
            store.drop_webhooks(0.0, tenant)  # last: the ends of those tasks were told of, too
            return count, not left
        if not removed:
            time.sleep(PAUSE_SECONDS)
