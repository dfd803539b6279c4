"""The web application of the ingress: FastAPI routes over store, artifacts and keys; it knows nothing of Ray."""

from __future__ import annotations

from deployment.services import Services
from deployment.web.app import create_app

__all__ = ["Services", "create_app"]
