"""ApiIngress: the stateless HTTP replica. The application itself is in deployment.web and knows nothing of Ray."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING

from ray.serve.handle import DeploymentHandle

from deployment.artifacts import open_artifacts
from deployment.backlog import Backlog
from deployment.intake import MediaIntake
from deployment.keys import KeyRing, server_secret
from deployment.moderation import open_moderation
from deployment.router_hints import RouterHints
from deployment.store import open_store
from deployment.web import Services, create_app
from deployment.webhooks.dispatcher import WebhookDispatcher
from hhray.served_model import ServedModel
from hhray.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger("ray.serve")


class ApiIngress:
    """Wires store, artifacts, keys and intake to the web application."""

    def __init__(self, settings: Settings, served: ServedModel, router: DeploymentHandle) -> None:
        hints = RouterHints(router)
        secret = server_secret(settings)
        store = open_store(settings)
        artifacts = open_artifacts(settings, secret)
        cost = settings.cost_model(served)
        moderation = open_moderation(settings.moderation)
        intake = MediaIntake(settings, store, artifacts, cost, f"intake-{uuid.uuid4()}", hints.kick, moderation)
        self._stop = threading.Event()
        threading.Thread(target=hints.serve, args=(self._stop,), name="router-hints", daemon=True).start()
        threading.Thread(target=intake.serve, args=(self._stop,), name="media-intake", daemon=True).start()
        dispatcher = WebhookDispatcher(settings, store, secret)
        threading.Thread(target=dispatcher.serve, args=(self._stop,), name="webhooks", daemon=True).start()
        keys = KeyRing(settings.keys_file, secret)
        self._services = Services(
            settings=settings,
            served=served,
            store=store,
            artifacts=artifacts,
            keys=keys,
            cost=cost,
            kick=hints.kick,
            intake=intake,
            backlog=Backlog(store, settings.store.max_queued),
            moderation=moderation,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        # Serve's proxy adds the request id to every answer.
        return create_app(self._services, adds_request_id=False)

    def __del__(self) -> None:
        self._stop.set()
