"""The application: all routes, errors in the dialect's shape, and a name on every exchange."""

from __future__ import annotations

from fastapi import FastAPI

from deployment.outlook import Outlook
from deployment.services import Services
from deployment.web.description import description_routes
from deployment.web.files import file_routes
from deployment.web.health import health_routes
from deployment.web.naming import RequestNaming
from deployment.web.openai_content import openai_content_routes
from deployment.web.openai_creates import openai_create_routes
from deployment.web.openai_events import openai_event_routes
from deployment.web.openai_videos import openai_video_routes
from deployment.web.patience import BodyPatience
from deployment.web.refusals import add_refusals
from deployment.web.tasks import task_routes
from deployment.web.tenant import tenant_routes
from deployment.web.uploads import upload_routes
from deployment.web.videos import video_routes


def create_app(services: Services, *, adds_request_id: bool = True) -> FastAPI:
    """The FastAPI application over these services.

    `adds_request_id` is False below a proxy that itself puts x-request-id on every answer, as Serve's does.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    outlook = Outlook(services.settings, services.store, services.cost)
    plain = (video_routes, upload_routes, tenant_routes, file_routes, health_routes)
    for routes in (*plain, openai_create_routes, openai_content_routes):
        app.include_router(routes(services))
    for watched in (task_routes, openai_event_routes, openai_video_routes):
        app.include_router(watched(services, outlook))
    app.include_router(description_routes())
    add_refusals(app)
    app.add_middleware(BodyPatience, idle_seconds=services.settings.http.body_idle_seconds)
    app.add_middleware(RequestNaming, adds_header=adds_request_id)
    return app
