"""A tenant that floods two engines hardly slows a tenant that asks for a clip now and then."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployment.keys import create_key, server_secret
from hhray.client import Client
from hhray.errors import RequestRefused
from scaling_server import ScalingServer

CLIP = {"resolution": "256P", "ratio": "1:1", "duration": 3}
FLOOD, ALONE, AMONG = 24, 2, 6


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_the_small_tenants_p95_stays_within_twice_its_time_alone(
    tmp_path: Path, keep_proof: Callable[[str, dict[str, Any]], None]
) -> None:
    # One rank and one thread an engine, so that two engines on two cores do not slow each other.
    server = ScalingServer(
        tmp_path,
        {"min_engines": 2, "max_engines": 2},
        preset="tiny",
        ranks=1,
        threads_per_rank=1,
        max_batch=1,
        watchdog_floor_seconds=600.0,
    )
    settings = server.settings
    small, flooding = (create_key(settings.keys_file, server_secret(settings), name, False) for name in ("s", "f"))
    server.start()
    try:
        with server.client(small) as client:
            alone = [_seconds(client, seed) for seed in range(ALONE)]
        with server.client(flooding) as crowd:
            flood = [crowd.submit("happyhorse-1.0-t2v", f"flood {n}", seed=n, **CLIP) for n in range(FLOOD)]
            with server.client(small) as client:
                among = [_seconds(client, seed) for seed in range(AMONG)]
            still_waiting = sum(crowd.get(task_id).state == "PENDING" for task_id in flood)
            for task_id in flood:
                with contextlib.suppress(RequestRefused):  # it runs, or is done
                    crowd.cancel(task_id)
    finally:
        assert server.stop(timeout=300) == 0, server.log_tail()
    mean_alone, p95 = sum(alone) / ALONE, sorted(among)[math.ceil(0.95 * AMONG) - 1]
    keep_proof(
        "two_tenants",
        {
            "preset": "tiny",
            "engines": 2,
            "flood": FLOOD,
            "flood_still_waiting_at_the_end": still_waiting,
            "seconds_alone": [round(one, 1) for one in alone],
            "seconds_among_the_flood": [round(one, 1) for one in among],
            "p95_over_alone": round(p95 / mean_alone, 2),
        },
    )
    assert still_waiting > 0, "the flood ended before the small tenant did: the test shows nothing"
    assert p95 <= 2 * mean_alone


def _seconds(client: Client, seed: int) -> float:
    """From submit to the end of a clip, as its client sees it."""
    began = time.monotonic()
    client.wait(client.submit("happyhorse-1.0-t2v", "a bell", seed=seed, **CLIP), timeout_seconds=1200)
    return time.monotonic() - began
