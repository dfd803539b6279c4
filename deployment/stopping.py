"""How long an engine that is to stop may go on: longer than anything it can have begun."""

from __future__ import annotations

import logging

from hhray.geometry import ClipGeometry, Ratio
from hhray.served_model import ServedModel
from hhray.settings import Settings

logger = logging.getLogger("ray.serve")
# An engine of W ranks holds at most W tickets, each of at most the longest clip L: work of W x L GPU-seconds. Work that
# never idles a rank while something waits ends within the mean and the longest (Graham 1966): L + L.
LONGEST_CLIPS_OF_GRACE = 2.0


def longest_clip_seconds(settings: Settings, served: ServedModel) -> float:
    """Predicted seconds of the longest clip on offer on a single rank, the slowest it may be run at."""
    cost, engine = settings.cost_model(served), settings.engine
    offers = (ClipGeometry(tier, ratio, engine.max_seconds) for tier in engine.tiers for ratio in Ratio)
    return max(cost.gpu_seconds(geometry) for geometry in offers)


def grace_seconds(settings: Settings, served: ServedModel) -> float:
    """Serve's `graceful_shutdown_timeout_s` of an engine: the setting, or more where clips on offer need more.

    It is a ceiling: an engine stops as soon as its last clip is delivered.
    """
    needed = LONGEST_CLIPS_OF_GRACE * longest_clip_seconds(settings, served)
    if needed > settings.graceful_shutdown_seconds:
        logger.warning(
            "graceful_shutdown_seconds %.0f is too short for the longest clips on offer: engines that stop get %.0f s; "
            "what stops machines or pods must wait at least as long",
            settings.graceful_shutdown_seconds,
            needed,
        )
    return max(needed, settings.graceful_shutdown_seconds)
