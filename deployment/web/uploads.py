"""Uploads ahead of a create, as clients of the hosted API make them: a policy first, then the form it permits.

The form's answer is 200 with an empty body, which is what those clients wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from deployment.dialects import dashscope
from deployment.services import Services, request_id_of
from deployment.upload_intake import UploadIntake
from deployment.upload_policy import UploadPolicy
from deployment.web.upload_form import UploadForm
from hhray.errors import InvalidParameter, RequestError, Throttled
from hhray.request import Mode

PATH = "/api/v1/uploads"
FORM_BYTES = 65_536  # what is around the file
TURN_SECONDS = 60.0
DRAIN_SECONDS = 30.0


def upload_routes(services: Services) -> APIRouter:
    """GET /uploads?action=getPolicy&model=... and POST /uploads, with and without a trailing slash."""
    router = APIRouter()
    turns = asyncio.Semaphore(services.settings.uploads.parallel)
    intake = UploadIntake(services.settings.uploads, services.store, services.artifacts)

    def get_policy(request: Request) -> JSONResponse:
        caller, query = services.caller(request), request.query_params
        if query.get("action") != "getPolicy":
            raise InvalidParameter("action: expected getPolicy.")
        model, limits, uploads = (
            dashscope.find_model(query.get("model")),
            services.settings.media,
            services.settings.uploads,
        )
        most = limits.max_video_bytes if model.mode is Mode.VIDEO_EDIT else limits.max_bytes
        policy = UploadPolicy.fresh(caller.tenant, model.name, most, time.time() + uploads.policy_seconds)
        signed = policy.signed(services.keys.signature)
        host = services.base_url(request) + PATH
        told = (uploads.policy_seconds, uploads.tenant_bytes, request_id_of(request))
        return JSONResponse(dashscope.render_policy(policy, signed, host, *told))

    async def upload(request: Request) -> Response:
        form = UploadForm(request.stream(), request.headers.get("content-type", ""))
        try:
            policy, object_key = _permitted(services, await form.fields())
            length = _length(request, policy)
            async with _turn(turns):
                await intake.take(form, policy, object_key, length)
        except RequestError:
            await _drain(form, services.settings.media.max_video_bytes)
            raise
        return Response(status_code=200)

    for slash in ("", "/"):
        router.add_api_route(PATH + slash, get_policy, methods=["GET"])
        router.add_api_route(PATH + slash, upload, methods=["POST"])
    return router


def _permitted(services: Services, fields: dict[str, str]) -> tuple[UploadPolicy, str]:
    """The policy of a form, and what the client calls the file.

    Raises:
        AccessDenied, InvalidParameter: the policy does not hold, or permits another folder only.
    """
    sign = services.keys.signature
    policy = UploadPolicy.checked(fields.get("policy", ""), fields.get("Signature", ""), sign, time.time())
    object_key = fields.get("key", "")
    if not object_key.startswith(f"{policy.folder}/") or not dashscope.OBJECT_KEY.fullmatch(object_key):
        raise InvalidParameter(
            "key: expected upload_dir of the policy, a slash, and a name of 1 to 200 characters without slashes and "
            "control characters."
        )
    return policy, object_key


def _length(request: Request, policy: UploadPolicy) -> int:
    """The most bytes the file can have, by what the client announces."""
    text = request.headers.get("content-length", "")
    return min(int(text), policy.max_bytes) if text.isdecimal() and len(text) < 16 else policy.max_bytes


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise Throttled("Too many uploads at once; please try again later.", TURN_SECONDS) from None
    try:
        yield
    finally:
        turns.release()


async def _drain(form: UploadForm, most_bytes: int) -> None:
    """Read what the client still sends, for a while: it looks for an answer when it is done."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await form.drain(most_bytes + FORM_BYTES)
    except TimeoutError:
        return
