"""A forward pass in every layout equals that of one rank; a clip may be split anew at every step."""

from __future__ import annotations

from itertools import pairwise

import pytest

RANKS = [1, 2, 3, 4, pytest.param(8, marks=pytest.mark.proof)]
# Ulysses degree x gather degree; Ulysses where the degree divides the eight key heads
LAYOUTS = {
    1: {"1x1"},
    2: {"2x1", "1x2"},
    3: {"1x3"},
    4: {"4x1", "2x2", "1x4"},
    8: {"8x1", "4x2", "2x4", "1x8"},
}


def expected_cases(world_size):
    full = {"chosen", *LAYOUTS[world_size]}
    local = full | {f"{name} without halo" for name in LAYOUTS[world_size] if not name.endswith("x1")}
    kinds = [("full", name) for name in full] + [("local", name) for name in local]
    return {f"{kind}, {items}, {name}" for kind, name in kinds for items in ("one", "packed")}


@pytest.mark.parametrize("world_size", RANKS)
def test_every_layout_gives_the_velocities_of_one_rank(layout_gang, world_size):
    for result in layout_gang(world_size):
        passes = result.facts["passes"]
        assert set(passes) == expected_cases(world_size)
        assert {name: case["difference"] for name, case in passes.items() if not case["difference"] <= 1e-5} == {}


@pytest.mark.parametrize("world_size", RANKS)
def test_every_layer_sends_the_bytes_of_the_formula(layout_gang, world_size):
    for result in layout_gang(world_size):
        for case in result.facts["passes"].values():
            assert case["counted"] == case["by_formula"]
            assert all(sent > 0 for sent in case["counted"]) if world_size > 1 else not any(case["counted"])


@pytest.mark.parametrize("world_size", RANKS[1:])
def test_a_halo_moves_less_than_all_keys(layout_gang, world_size):
    def sent(name):
        return sum(result.facts["passes"][name]["counted"][-1] for result in layout_gang(world_size))

    assert sent(f"local, one, 1x{world_size}") < sent(f"local, one, 1x{world_size} without halo")


@pytest.mark.parametrize("world_size", RANKS)
def test_a_clip_that_is_split_anew_at_every_step_stays_the_same(layout_gang, world_size):
    for result in layout_gang(world_size):
        resplit = result.facts["resplit"]
        degrees = resplit["degrees"]
        assert len(degrees) == 8
        assert {ulysses for ranks, ulysses in degrees if ranks == world_size} == {
            int(name.split("x")[0]) for name in LAYOUTS[world_size]
        }
        if world_size > 1:
            assert all(before[0] != after[0] for before, after in pairwise(degrees))
        assert resplit["difference"] <= 1e-5
        assert resplit["counted"] == resplit["by_formula"]


@pytest.mark.proof
def test_eight_ranks_are_kept_as_a_proof(layout_gang, keep_proof):
    results = [result.facts for result in layout_gang(8)]
    differences = {name: max(facts["passes"][name]["difference"] for facts in results) for name in results[0]["passes"]}
    split_anew = max(facts["resplit"]["difference"] for facts in results)
    keep_proof("layouts_eight_ranks", {"velocities": differences, "split_anew_at_every_step": split_anew})
    assert max([split_anew, *differences.values()]) <= 1e-5
