"""What a tenant may know of itself and remove: GET /usage, GET /quotas, DELETE /tenant/data."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from deployment.forgetting import forget_tenant
from deployment.key_scopes import Scope
from deployment.keys import Caller
from deployment.services import Services, request_id_of
from hhray.errors import AccessDenied, InvalidParameter
from hhray.quotas import QuotaUse, day_end, month_end, utc_day
from hhray.records import day_name, day_number
from hhray.tenancy import TenantSettings

PREFIX = "/api/v1"
FORGET_SECONDS = 20.0  # a client that waits for longer may have gone


def tenant_routes(services: Services) -> APIRouter:
    """Each path with and without a trailing slash. The server's administrators name a tenant by `?tenant=`."""
    router = APIRouter()

    def usage(request: Request) -> JSONResponse:
        tenant = _wanted(services.caller(request), request, all_of_them=True)
        today = utc_day(time.time())
        first = _day(request, "from", day_number(day_name(today)[:8] + "01"))
        rows = services.store.usage(tenant, first, _day(request, "to", today))
        return JSONResponse({"request_id": request_id_of(request), "data": [asdict(row) for row in rows]})

    def quotas(request: Request) -> JSONResponse:
        caller = services.caller(request)
        tenant = _wanted(caller, request) or caller.tenant
        data = describe_quotas(services.settings.granted(tenant), services.store.quota_use(tenant))
        return JSONResponse({"request_id": request_id_of(request), "data": {"tenant": tenant, **data}})

    def forget(request: Request) -> JSONResponse:
        caller = services.caller(request, Scope.ADMIN)
        tenant = _wanted(caller, request) or caller.tenant
        count, done = forget_tenant(
            services.store, services.artifacts, tenant, key_id=caller.key_id, seconds=FORGET_SECONDS
        )
        told = {"tenant": tenant, "tasks_removed": count, "complete": done}
        return JSONResponse({"request_id": request_id_of(request), **told}, 200 if done else 202)

    for slash in ("", "/"):
        router.add_api_route(f"{PREFIX}/usage{slash}", usage, methods=["GET"])
        router.add_api_route(f"{PREFIX}/quotas{slash}", quotas, methods=["GET"])
        router.add_api_route(f"{PREFIX}/tenant/data{slash}", forget, methods=["DELETE"])
    return router


def describe_quotas(granted: TenantSettings, use: QuotaUse) -> dict[str, Any]:
    """Every limit (None: there is none), what is used of it, and when the used part is 0 again."""
    quota = granted.quota
    return {
        "create_rate": {"limit": quota.creates_per_second or None, "burst": quota.create_burst},
        "running_tasks": {"limit": granted.max_running or None, "used": use.running},
        "unfinished_tasks": {"limit": quota.unfinished or None, "used": use.unfinished},
        "gpu_seconds_per_day": {
            "limit": quota.gpu_seconds_per_day or None,
            "used": use.gpu_ms / 1000,
            "renewed_in_seconds": round(day_end(use.now) - use.now),
        },
        "video_seconds_per_month": {
            "limit": quota.video_seconds_per_month or None,
            "used": use.video_ms / 1000,
            "renewed_in_seconds": round(month_end(use.now) - use.now),
        },
        "priority": granted.priority.value,
        "weight": granted.weight,
        "reserved_share": granted.reserved,
        "keeps_prompts": granted.keep_prompts,
    }


def _wanted(caller: Caller, request: Request, *, all_of_them: bool = False) -> str | None:
    """The tenant a request is about: the caller's own, for an administrator any; None: all, or none was named.

    Raises:
        AccessDenied: another tenant's.
    """
    named = request.query_params.get("tenant")
    if caller.admin:
        return named if named or all_of_them else caller.tenant
    if named not in (None, caller.tenant):
        raise AccessDenied("Access denied. Expected no tenant, or the API-key's own.")
    return caller.tenant


def _day(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return day_number(text)
    except ValueError:
        raise InvalidParameter(f"{name}: expected a day as YYYY-MM-DD (UTC).") from None
