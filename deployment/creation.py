"""From a validated call to a task: the one way both dialects take, whatever their requests look like.

Order: what is on offer, who may have how much, what came along into the artifact store, then one row. Nothing that can
fail comes after the row.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from deployment.artifacts import input_key
from deployment.create_call import CreateCall
from deployment.keys import Caller
from deployment.services import Services
from hhray.errors import InvalidParameter, Throttled
from hhray.request import ClipRequest
from hhray.tasks import NewTask, Task
from hhray.tenancy import tenant_settings

BACKLOG_RETRY_SECONDS = 5.0


def create_task(services: Services, caller: Caller, call: CreateCall, request_id: str) -> Task:
    """The task of a call: a new one, or the older one that its idempotency key names.

    Raises:
        RequestError: with the wire code, and a sentence that says what was expected.
        StoreUnavailable, ArtifactsUnavailable: ours; nothing was left behind.
    """
    check_offer(services, call.request)
    check_backlog(services)
    if call.request.media:
        services.artifacts.check_room()
    task = _insert(services, caller, call, request_id)
    # From here on the task exists: nothing below may fail.
    if task.ready:
        services.kick(task.task_id)
    else:
        services.intake.wake()
    return task


def check_offer(services: Services, clip: ClipRequest) -> None:
    """What the operator offers may be less than the menu: the memory of the engines was planned for it.

    Raises:
        InvalidParameter: the tier, the duration or (where the client insists) the mode is not offered.
    """
    engine, capabilities = services.settings.engine, services.served.capabilities
    if clip.resolution not in engine.tiers:
        raise InvalidParameter(
            f"parameters.resolution: this server offers {', '.join(engine.tiers)}, got {clip.resolution.value}."
        )
    if clip.duration > engine.max_seconds:
        raise InvalidParameter(
            f"parameters.duration: this server offers clips of at most {engine.max_seconds} seconds, "
            f"got {clip.duration}."
        )
    if clip.strict_capabilities and not capabilities.trained_for(clip.mode):
        raise InvalidParameter(
            f"parameters.strict_capabilities: expected a mode the checkpoint was trained for "
            f"({', '.join(capabilities.names())}), got {clip.mode.value}. Without it: {capabilities.notice(clip.mode)}"
        )


def check_backlog(services: Services) -> None:
    """Raises:
    Throttled: more tasks wait than this server keeps.
    """
    most = services.settings.store.max_queued
    if services.store.depth().queued >= most:
        raise Throttled(f"Too many tasks are waiting ({most}); please try again later.", BACKLOG_RETRY_SECONDS)


def _insert(services: Services, caller: Caller, call: CreateCall, request_id: str) -> Task:
    """Insert the task; files that came along are in the artifact store before the row can be seen."""
    task_id, inserted = str(uuid.uuid4()), None
    try:
        stored = _with_files(services, caller.tenant, task_id, call)
        inserted = services.store.create(_new_task(services, caller, stored, request_id, task_id))
        return inserted
    finally:
        if any(call.files) and (inserted is None or inserted.task_id != task_id):
            services.artifacts.delete_task(
                task_id, caller.tenant
            )  # refused, or an older task of the same idempotency key


def _new_task(services: Services, caller: Caller, call: CreateCall, request_id: str, task_id: str) -> NewTask:
    granted, clip = tenant_settings(services.settings.tenants, caller.tenant), call.request
    return NewTask(
        tenant=caller.tenant,
        request=clip,
        request_id=request_id,
        gpu_seconds=services.cost.gpu_seconds(clip.geometry),
        ready=not clip.media,
        task_id=task_id,
        ttl_seconds=services.settings.store.task_ttl_seconds,
        idempotency_key=call.idempotency_key,
        api_key_id=caller.key_id,
        deadline_seconds=call.deadline_seconds,
        priority=granted.priority,
        reserved=granted.reserved > 0,
    )


def _with_files(services: Services, tenant: str, task_id: str, call: CreateCall) -> CreateCall:
    """The call with the keys of those files that came along and lie in the store now."""
    media = tuple(
        item
        if data is None
        else item.model_copy(update={"key": services.artifacts.put_bytes(input_key(task_id, at, tenant), data).key})
        for at, (item, data) in enumerate(zip(call.request.media, call.files, strict=True))
    )
    return replace(call, request=call.request.model_copy(update={"media": media}))
