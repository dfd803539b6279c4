"""The autoscaling policy as Serve calls it: `scale_engines`, for the whole application, in Serve's controller.

It must see two deployments at once, the router that measures and the engines that are counted, so it is a policy of the
application, and Serve takes those from config files only (`autoscaling_policy` of an application; `serve.run` has no
place for one). What the operator wants travels as keyword arguments of the engines' own policy, which Serve hands to
every policy with the deployment's configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from deployment.autoscaling import Bounds, PolicyState, ScalingTargets, Signals, decide
from deployment.work_meter import scaling_targets
from hhray.settings import Settings

ENGINES, ROUTER = "ClipEngine", "Router"
POLICY = "deployment.engine_scaling:scale_engines"
WITHOUT_POLICY = "deployment.engine_scaling:keep_some"


def scale_engines(
    contexts: Mapping[Any, AutoscalingContext],
) -> tuple[dict[Any, int], dict[Any, PolicyState]]:
    """Serve's application-level policy: decisions and states by deployment; the router's own number is left alone."""
    by_name = {context.deployment_name: (key, context) for key, context in contexts.items()}
    if ENGINES not in by_name:
        return {}, {}  # a fixed number of engines
    key, engines = by_name[ENGINES]
    signals = latest_signals(by_name[ROUTER][1].raw_metrics) if ROUTER in by_name else None
    bounds = Bounds(engines.capacity_adjusted_min_replicas, engines.capacity_adjusted_max_replicas)
    targets = ScalingTargets(**engines.config.policy.policy_kwargs)
    number, state = decide(
        engines.current_time, engines.target_num_replicas, bounds, signals, targets, engines.policy_state
    )
    return {key: number}, {key: state}


def keep_some(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """The engines' own policy, asked only where the application has none: a config file without the line for it.

    Serve would count requests then, and a ticket is not a measure of work, so the number stays, but for none at all.
    """
    return max(1, context.target_num_replicas), {}


def latest_signals(metrics: Mapping[str, Mapping[Any, Any]] | None) -> Signals | None:
    """The last complete reading in what Serve has of `Router.record_autoscaling_stats`; None when there is none.

    The last point of each series, for Serve's own aggregate is a mean over half a minute.
    """
    values = {}
    for field in fields(Signals):
        series = [points for points in (metrics or {}).get(field.name, {}).values() if points]
        if not series:
            return None
        # Two routers for a moment, while one takes over from the other: the newer point.
        values[field.name] = float(max((points[-1] for points in series), key=lambda point: point.timestamp).value)
    return Signals(**values)


def number_of_engines(settings: Settings) -> dict[str, Any]:
    """Options of the engine deployment: a fixed number, or bounds between which the policy decides."""
    least, most = settings.engine_bounds
    if not settings.autoscales:
        return {"num_replicas": least}
    policy = AutoscalingPolicy(policy_function=WITHOUT_POLICY, policy_kwargs=asdict(scaling_targets(settings)))
    # Windows are the policy's; Serve's own on top of them would be counted twice.
    config = AutoscalingConfig(
        min_replicas=least,
        max_replicas=most,
        upscale_delay_s=0.0,
        downscale_delay_s=0.0,
        policy=policy,
    )
    return {"autoscaling_config": config}


def number_of_routers(settings: Settings) -> dict[str, Any]:
    """Options of the router deployment: always one. Serve asks a deployment for its measurements only where it has an
    autoscaling configuration."""
    if not settings.autoscales:
        return {}
    seconds = settings.autoscaling.interval_seconds
    with warnings.catch_warnings():
        # The variables that the note of deprecation names instead are read nowhere in Ray 2.60.
        warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
        config = AutoscalingConfig(
            min_replicas=1, max_replicas=1, metrics_interval_s=seconds, look_back_period_s=5 * seconds
        )
    return {"autoscaling_config": config}
