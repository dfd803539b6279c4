"""From a validated call to a task: the one way both dialects take, whatever their requests look like.

Order: what is on offer, who may have how much, moderation of the text, what came along into the artifact store, one
row. Nothing that can fail comes after the row.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from typing import BinaryIO

from deployment.artifacts import input_key, upload_key
from deployment.call_identity import gone, identified
from deployment.create_call import CreateCall
from deployment.departure import Departure
from deployment.keys import Caller
from deployment.services import Services
from hhray.errors import InvalidParameter, RequestError, StoreUnavailable
from hhray.marking_settings import marking_of
from hhray.quotas import longest
from hhray.request import ClipRequest
from hhray.tasks import NewTask, Task


def create_task(
    services: Services, caller: Caller, call: CreateCall, request_id: str, departure: Departure | None = None
) -> Task:
    """The task of a call: a new one, or the older one that its idempotency key names, in state UNKNOWN if it is gone.

    `departure` watches the client where creates that are sent again are to be merged.

    Raises:
        RequestError: with the wire code, and a sentence that says what was expected.
        StoreUnavailable, ArtifactsUnavailable, ModerationUnavailable: ours; nothing was left behind.
    """
    call = identified(services.store, caller.tenant, call)
    # keyed, so that nobody guesses a short prompt from what is kept
    call = replace(call, fingerprint=services.keys.signature("create", call.fingerprint))
    older = _older_task(services, caller, call)
    if older is not None:  # a repeated create costs nothing: no quota counts it
        return older
    check_offer(services, call.request)
    services.backlog.check()
    services.moderation.check_request(call.request)
    if call.request.media:
        services.artifacts.check_room()
    if departure is not None and call.idempotency_key is None:
        departure.named(caller, call.fingerprint)
    task = _insert(services, caller, call, request_id, departure)
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


def refuse_later(services: Services, caller: Caller, clip: ClipRequest, request_id: str, error: RequestError) -> Task:
    """A task for a call with a wrong value: FAILED from the start, it lives as long as any. No key is consumed."""
    services.backlog.check()
    new = _new_task(services, caller, CreateCall(clip), request_id, str(uuid.uuid4()))
    new = replace(new, gpu_seconds=0.0, ready=False)
    return services.store.create_failed(new, error.code, error.message)


def _older_task(services: Services, caller: Caller, call: CreateCall) -> Task | None:
    """The task of this idempotency key, if its row is still there."""
    if call.idempotency_key is None:
        return None
    task_id = services.store.key_task_id(caller.tenant, call.idempotency_key, call.fingerprint)
    return None if task_id is None else services.store.get(task_id, caller.tenant)


def _insert(services: Services, caller: Caller, call: CreateCall, request_id: str, departure: Departure | None) -> Task:
    """Insert the task; files that came along are in the artifact store before the row can be seen."""
    task_id, inserted = str(uuid.uuid4()), None
    unknown = False
    try:
        stored = _with_files(services, caller.tenant, task_id, call)
        new = _new_task(services, caller, stored, request_id, task_id)
        if departure is not None:
            new = replace(new, repost_key=departure.repost_key)
        try:
            inserted = services.store.create(new)
        except StoreUnavailable:
            unknown = True  # the connection may have been lost after the commit
            inserted = services.store.get(task_id)
            unknown = False
            if inserted is None:
                raise
        if departure is not None:
            departure.committed(inserted.task_id)
        return inserted
    finally:
        if call.request.media and not unknown and (inserted is None or inserted.task_id != task_id):
            # refused, or an older task of the same idempotency key
            services.artifacts.delete_task(task_id, caller.tenant)


def _new_task(services: Services, caller: Caller, call: CreateCall, request_id: str, task_id: str) -> NewTask:
    granted, clip = services.settings.granted(caller.tenant), call.request
    marking = marking_of(services.settings.marking, granted.marking, clip.watermark)
    return NewTask(
        tenant=caller.tenant,
        request=clip.model_copy(update={"marking": marking}),
        request_id=request_id,
        gpu_seconds=services.cost.gpu_seconds(longest(clip).geometry),
        ready=not clip.media,
        task_id=task_id,
        ttl_seconds=services.settings.store.task_ttl_seconds,
        idempotency_key=call.idempotency_key,
        api_key_id=caller.key_id,
        deadline_seconds=call.deadline_seconds,
        priority=granted.priority,
        reserved=granted.reserved > 0,
        fingerprint=call.fingerprint,
        webhook=call.webhook or granted.webhook_url,
        quota=granted.quota,
        prompt_hash=services.keys.prompt_hash(f"{clip.prompt}\0{clip.dialogue}"),
        keep_prompt=granted.keep_prompts,
    )


def _with_files(services: Services, tenant: str, task_id: str, call: CreateCall) -> CreateCall:
    """The call with the keys of those files that came along or were uploaded; they are the task's own now."""
    media = []
    for at, (item, data) in enumerate(zip(call.request.media, call.files, strict=True)):
        upload, key = call.uploads[at], input_key(task_id, at, tenant)
        if data is not None:
            _put(services, key, data)
        elif upload is not None and not services.artifacts.link(key, upload_key(upload.upload_id, tenant)):
            raise gone(at)
        kept = data is not None or upload is not None
        media.append(item.model_copy(update={"key": key, "url": ""}) if kept else item)
    return replace(call, request=call.request.model_copy(update={"media": tuple(media)}))


def _put(services: Services, key: str, data: bytes | BinaryIO) -> None:
    if isinstance(data, bytes):
        services.artifacts.put_bytes(key, data)
    else:
        services.artifacts.put_stream(key, lambda writer: shutil.copyfileobj(data, writer, 1 << 20))
