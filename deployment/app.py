"""The Serve application: ingress -> router -> engines. `deployment.app:build` is what config files import."""

from __future__ import annotations

from typing import Any

import ray
from ray import serve
from ray.serve import Application

from deployment.clip_engine import ClipEngine
from deployment.engine_scaling import number_of_engines, number_of_routers
from deployment.ingress import ApiIngress
from deployment.keys import check_binding
from deployment.model_on_offer import model_on_offer
from deployment.router import Router, check_store_fits
from deployment.start_checks import check_hooks
from deployment.stopping import grace_seconds
from hhray.settings import Settings, load_settings

SMALL = {"num_cpus": 0.1}
MANY_REQUESTS = 1000


def build(args: dict[str, Any]) -> Application:
    """The application for settings given as plain values (a config file's `args`), on top of the environment.

    Raises:
        ConfigError: a setting does not fit, or the server would be open to the network without keys.
    """
    return bind(load_settings(overrides=args))


def bind(settings: Settings) -> Application:
    """The application for these settings.

    Raises:
        ConfigError: the server would be open to the network without keys, the store does not fit the cluster, marks
            cannot be made, or what is to be served is not there.
    """
    check_binding(settings)
    check_hooks(settings)
    if ray.is_initialized():
        check_store_fits(settings, sum(1 for node in ray.nodes() if node["Alive"]))
    served = model_on_offer(settings)  # an unknown preset or an unfit checkpoint is refused before anything starts
    health = {"health_check_period_s": settings.health_check_seconds}
    options = engine_options(settings) | {"graceful_shutdown_timeout_s": grace_seconds(settings, served)}
    engines = serve.deployment(ClipEngine, **options, **health).bind(settings, served)
    router = serve.deployment(
        Router,
        ray_actor_options=SMALL,
        max_ongoing_requests=MANY_REQUESTS,
        graceful_shutdown_wait_loop_s=0.2,
        **number_of_routers(settings),
        **health,
    )
    ingress = serve.deployment(
        serve.ingress()(ApiIngress),
        num_replicas=settings.http.ingress_replicas,
        ray_actor_options=SMALL,
        max_ongoing_requests=MANY_REQUESTS,
        graceful_shutdown_wait_loop_s=0.2,
        **health,
    )
    application: Application = ingress.bind(settings, served, router.bind(settings, served, engines))
    return application


def engine_options(settings: Settings) -> dict[str, Any]:
    """Deployment options of the engine: coordinator in bundle 0, rank r in bundle 1 + r, all on one node. How long a
    stop may take comes on top: see deployment.stopping."""
    engine = settings.engine
    rank = {"CPU": engine.cpus_per_rank} | ({"GPU": engine.rank_gpus} if engine.rank_gpus else {})
    return {
        **number_of_engines(settings),
        # A ticket for a batch on each rank, as many that wait for one, and a few for batches that are paused or whose
        # files are being written. Every engine gets as many, so none is kept from an idle one.
        "max_ongoing_requests": 2 * engine.ranks + settings.router.tickets_per_engine,
        "ray_actor_options": SMALL,
        "placement_group_bundles": [{"CPU": SMALL["num_cpus"]}] + [rank] * engine.ranks,
        "placement_group_strategy": "STRICT_PACK",
        "graceful_shutdown_wait_loop_s": 0.2,
    }
