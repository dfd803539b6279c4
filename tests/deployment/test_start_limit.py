"""How long a gang may take to start, and what a rank is taken to compute before anything was measured."""

from __future__ import annotations

import pytest

from deployment.gang import COMPILE_SECONDS, start_seconds, warm_up_seconds
from hhray.geometry import Resolution
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import load_settings


def test_large_weights_are_given_the_time_to_be_read() -> None:
    assert start_seconds(120.0, ServedModel(preset("pico"))) == pytest.approx(120.0, abs=0.2)
    released = ServedModel(preset("15b"), ladder={Resolution.P720: Stage.SR_540P, Resolution.P1080: Stage.SR_1080P})
    assert start_seconds(120.0, released) == pytest.approx(120 + 3 * 612, rel=0.01)  # three networks of 61.2 GB


def test_compiling_and_warming_up_are_given_time() -> None:
    served = ServedModel(preset("tiny"))
    plain = load_settings()
    warm = load_settings(overrides={"engine": {"compiled": "on", "warm_up": [{"resolution": "256P", "duration": 4}]}})
    (shape,) = warm.engine.warm_up
    clip = sum(warm.cost_model(served).steps_seconds(shape.geometry, warm.engine.ranks, 1))
    assert warm_up_seconds(plain, served) == 0
    assert warm_up_seconds(warm, served) == pytest.approx(COMPILE_SECONDS + clip)
    assert clip > 0


def test_a_gpu_is_taken_for_faster_than_a_cpu_until_told() -> None:
    served = ServedModel(preset("tiny"))
    told = {"device": "cuda", "flops_per_second": 5e14}
    for engine, flops in (({}, 4e10), ({"device": "cuda"}, 5.4e14), (told, 5e14)):
        assert load_settings(overrides={"engine": engine}).cost_model(served).flops_per_second == flops
