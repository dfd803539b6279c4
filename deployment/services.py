"""What the routes work with, and what they share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request

from deployment.artifacts import ArtifactStore
from deployment.backlog import Backlog
from deployment.intake import MediaIntake
from deployment.key_scopes import Scope, check_scope, scope_of_method
from deployment.keys import Caller, KeyRing, is_loopback
from deployment.moderation import Moderation
from deployment.store.base import TaskStore
from hhray.cost import CostModel
from hhray.errors import AccessDenied
from hhray.moderation_settings import ModerationSettings
from hhray.served_model import ServedModel
from hhray.settings import Settings

_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of an ingress replica. `kick` hints the router that a task became claimable; it never raises."""

    settings: Settings
    served: ServedModel
    store: TaskStore
    artifacts: ArtifactStore
    keys: KeyRing
    cost: CostModel
    kick: Callable[[str], None]
    intake: MediaIntake
    backlog: Backlog
    moderation: Moderation = field(default_factory=lambda: Moderation(None, ModerationSettings()))

    def caller(self, request: Request, needs: Scope | None = None) -> Caller:
        """Who sent the request, whose key has the scope the route needs: without `needs`, that of the HTTP method.

        Raises:
            InvalidApiKey: nobody this server knows.
            AccessDenied: the key has not this scope.
            AccessDenied: there are no keys, and the request names another host than this machine: some web page made
                a browser resolve its own name to loopback.
        """
        caller = self.keys.authenticate(request.headers.get("authorization"))
        if not caller.key_id and not is_loopback(request.url.hostname or ""):
            raise AccessDenied("A server without API keys is called as localhost only; make a key to use other names.")
        check_scope(caller.scopes, needs or scope_of_method(request.method))
        return caller

    def base_url(self, request: Request) -> str:
        """Base of download URLs: the configured one, else the host the client called.

        The Host header is the client's word, so only a plain host[:port] is repeated.
        """
        http = self.settings.http
        if http.public_url:
            return http.public_url.rstrip("/")
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            host = f"[{http.host}]:{http.port}" if ":" in http.host else f"{http.host}:{http.port}"
        return f"{request.url.scheme}://{host}"


def is_task_id(text: str) -> bool:
    """Whether a client's text can be a task id of this server: a UUID as `str(uuid.uuid4())` writes it."""
    return _TASK_ID.fullmatch(text) is not None


def request_id_of(request: Request) -> str:
    """The id of this exchange, set by RequestNaming before any route runs."""
    name: str = request.scope["hhray.request_id"]
    return name
