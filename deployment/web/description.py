"""GET /openapi.json: what this server offers, for machines; no key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from deployment.openapi import description_bytes

PATH = "/openapi.json"


def description_routes() -> APIRouter:
    """The description, from bytes made once."""
    router = APIRouter()
    described = description_bytes()

    def describe() -> Response:
        return Response(described, media_type="application/json", headers={"cache-control": "public, max-age=300"})

    router.add_api_route(PATH, describe, methods=["GET"])
    return router
