"""GET /metrics and GET /healthz: for Prometheus, load balancers and people; no key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from deployment.fault_record import QUARANTINED
from deployment.fitness import fresh_seconds
from deployment.metrics_collector import render
from deployment.services import Services
from deployment.work_meter import desired_engines
from hhray import __version__

WARM_STATES = frozenset({"ready", "busy", QUARANTINED})


def health_routes(services: Services) -> APIRouter:
    """Both answer 503 while the task store does not answer."""
    router = APIRouter()
    model = services.settings.engine.model_name

    def desired() -> int:
        return desired_engines(services.store, services.settings)

    def metrics() -> Response:
        body, content_type = render(services.store, model, desired)
        return Response(body, media_type=content_type)

    def healthz() -> JSONResponse:
        engines = services.store.engines(fresh_seconds(services.settings))
        depth = services.store.depth()
        attention = [engine.detail.get("attention", {}) for engine in engines]  # alike on engines of one kind
        return JSONResponse(
            {
                "status": "ok",
                "version": __version__,
                "checkpoint": model,
                "trained_for": list(services.served.capabilities.names()),
                "engines": len(engines),
                "engines_desired": desired(),
                "warm": any(engine.state in WARM_STATES for engine in engines),
                "suspects": [
                    {"engine": engine.engine_id, "node": engine.detail.get("node", ""), **suspect}
                    for engine in engines
                    for suspect in engine.detail.get("suspects", [])
                ],
                "queued": depth.queued,
                "queued_gpu_seconds": round(depth.queued_gpu_seconds, 3),
                "running": depth.running,
                "arithmetic": sorted({str(engine.detail.get("arithmetic", "")) for engine in engines} - {""}),
                "attention": {shape: kernels for one in attention for shape, kernels in one.items()},
            }
        )

    router.add_api_route("/metrics", metrics, methods=["GET"])
    router.add_api_route("/healthz", healthz, methods=["GET"])
    router.add_api_route("/health", healthz, methods=["GET"])  # where public load generators wait for a server
    return router
