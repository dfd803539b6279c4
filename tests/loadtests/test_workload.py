"""The workload as a pure function of a random generator."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from hhray.geometry import Ratio, Resolution
from hhray.request import MAX_SEED
from loadtests.workload import PROMPTS, SMALL_MIX, Shape, choose_shape, create_body


def test_shapes_come_in_the_proportions_of_the_mixture():
    random = Random(1)
    counts = Counter(choose_shape(random) for _ in range(10_000))
    total = sum(weight for _, weight in SMALL_MIX)
    for shape, weight in SMALL_MIX:
        assert counts[shape] / 10_000 == pytest.approx(weight / total, abs=0.02)


def test_the_mixture_is_small_clips_only():
    assert {shape.resolution for shape, _ in SMALL_MIX} <= {Resolution.P256, Resolution.P480, Resolution.P720}
    assert max(shape.duration for shape, _ in SMALL_MIX) <= 5


def test_a_given_resolution_and_duration_replace_the_drawn_ones():
    shapes = {choose_shape(Random(seed), Resolution.P1080, 7) for seed in range(50)}
    assert {(shape.resolution, shape.duration) for shape in shapes} == {(Resolution.P1080, 7)}
    assert len({shape.ratio for shape in shapes}) > 1


def test_a_body_is_a_create_request_of_that_shape():
    body = create_body(Random(3), Shape(Resolution.P256, Ratio.R9_16, 4))
    seed = body["parameters"].pop("seed")
    assert 0 <= seed <= MAX_SEED
    assert body["model"] == "happyhorse-1.0-t2v"
    assert body["parameters"] == {"resolution": "256P", "ratio": "9:16", "duration": 4, "watermark": False}
    assert body["input"]["prompt"] in PROMPTS.values()
    assert json.loads(json.dumps(body)) == body


def test_480p_goes_to_the_model_that_offers_it():
    assert create_body(Random(3), Shape(Resolution.P480, Ratio.R16_9, 3))["model"] == "happyhorse-1.1-t2v"


def test_prompts_are_in_seven_languages_and_all_are_used():
    assert set(PROMPTS) == {"zh", "yue", "en", "ja", "ko", "de", "fr"}
    random = Random(5)
    shape = SMALL_MIX[0][0]
    used = {create_body(random, shape)["input"]["prompt"] for _ in range(200)}
    assert used == set(PROMPTS.values())
