"""Blocks of a gang's ranks: who is in them, clips that move between them, run beside each other, and run twice."""

from __future__ import annotations

import pytest
import torch

from hhray.blocks import Block, aligned_blocks, block_sizes, smallest_block
from hhray.errors import ConfigError

SIZES = [2, 4]
REACHED = {
    2: [{"0-1": [0, 1]}] * 2,
    3: [{"0-2": [0, 1, 2], "0-1": [0, 1]}] * 2 + [{"0-2": [0, 1, 2]}],
    4: [{"0-3": [0, 1, 2, 3], "0-1": [0, 1]}] * 2 + [{"0-3": [0, 1, 2, 3], "2-3": [2, 3]}] * 2,
    8: [
        {"0-7": list(range(8)), f"{r // 4 * 4}-{r // 4 * 4 + 3}": list(range(r // 4 * 4, r // 4 * 4 + 4))}
        | {f"{r // 2 * 2}-{r // 2 * 2 + 1}": [r // 2 * 2, r // 2 * 2 + 1]}
        for r in range(8)
    ],
}
# values of a state: the four latents (video 48 x 5 x 6 x 6 or 4 x 4, sound 6 x 64) of two clips, what solvers remember
SMALL, LARGE, SOUND = 48 * 5 * 4 * 4, 48 * 5 * 6 * 6, 6 * 64


def test_the_blocks_of_eight_ranks_largest_first():
    assert [str(block) for block in aligned_blocks(8)] == [
        "0-7", "0-3", "4-7", "0-1", "2-3", "4-5", "6-7", "0", "1", "2", "3", "4", "5", "6", "7"
    ]  # fmt: skip
    assert [str(block) for block in aligned_blocks(1)] == ["0"]
    assert [str(block) for block in aligned_blocks(3)] == ["0-2", "0-1", "0", "1", "2"]
    assert block_sizes(6) == (6, 4, 2, 1)


@pytest.mark.parametrize(("first", "num_ranks"), [(1, 2), (2, 4), (0, 0), (-2, 2), (6, 4)])
def test_a_block_that_is_not_aligned_is_refused(first, num_ranks):
    with pytest.raises(ConfigError, match="begins at a multiple of their number"):
        Block(first, num_ranks)


def test_the_smallest_block_that_has_some_ranks():
    assert smallest_block(8, [2, 3]) == Block(2, 2)
    assert smallest_block(8, [1, 2]) == Block(0, 4)
    assert smallest_block(8, [3, 4]) == Block(0, 8)
    assert smallest_block(3, [1, 2]) == Block(0, 3)
    with pytest.raises(ConfigError, match="are not all in a gang of 2 ranks"):
        smallest_block(2, [1, 2])


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_every_rank_reaches_its_blocks_and_no_other(block_gang, world_size):
    results = block_gang(world_size)
    assert [result.facts["links"]["reached"] for result in results] == REACHED[world_size]
    for rank, result in enumerate(results):
        others = [block for block in aligned_blocks(world_size) if rank not in block]
        assert [text.startswith(f"rank {rank} is not in block") for text in result.facts["links"]["refused"]] == [
            True for _ in others
        ]
        assert "has no block 8-15; it has 0-" in result.facts["links"]["foreign"]


@pytest.mark.parametrize("samplers", ["noisy", "guided"])
@pytest.mark.parametrize("world_size", SIZES)
def test_a_clip_that_moves_between_blocks_stays_the_same(block_gang, world_size, samplers):
    results = [result.facts[samplers] for result in block_gang(world_size)]
    made = {
        2: [[0, 2, 3, 5, 6], [1, 2, 3, 4, 5, 7]],
        4: [[0, 1, 5, 6], [0, 1, 5, 6, 7], [2, 3, 4, 5, 6], [2, 3, 4, 5, 6]],
    }
    assert [result["steps"] for result in results] == made[world_size]
    assert results[1]["difference"] <= 1e-5  # where it ends
    assert [result["difference"] for result in results].count(None) == world_size - 1


def test_only_what_is_missing_moves_and_only_to_those_who_lack_it(block_gang):
    results = [result.facts["noisy"]["sent"] for result in block_gang(4)]
    noise = 2 * torch.Generator().get_state().numel()
    heads = 8 * (3 + 2 * 4) + noise
    begun = 2 * 4 * (SMALL + SOUND)  # two clips, float32; the distilled sampler remembers nothing
    # one step of the second pass: the latents, the corrected ones, one prediction; and the base pass's sound
    solved = 4 * (2 * 3 * (LARGE + SOUND) + 2 * SOUND)
    # from all to 0-1 nothing; from rank 0 to ranks 2 and 3; from rank 2 to ranks 0 and 1; nothing to 1
    assert results == [[0, 2 * (heads + begun), 0, 0], [0] * 4, [0, 0, 2 * (heads + solved), 0], [0] * 4]


@pytest.mark.parametrize("samplers", ["noisy", "guided"])
@pytest.mark.parametrize("world_size", SIZES)
def test_a_paused_clip_goes_on_from_its_file_on_another_block(block_gang, world_size, samplers):
    found = [result.facts["paused"][samplers] for result in block_gang(world_size)]
    assert found[1] <= 1e-5  # where it ends
    assert found.count(None) == world_size - 1


def test_two_clips_run_at_once_on_two_blocks(block_gang):
    results = [result.facts["both"] for result in block_gang(4)]
    for rank, result in enumerate(results):
        assert result["away"] == f"no batch {'b' if rank < 2 else 'a'} on rank {rank}; begin it first"
    assert results[1]["difference of b"] <= 1e-5


def test_the_first_rank_of_any_block_writes_the_file_and_ranks_that_are_left_forget_the_batch(block_gang):
    results = [result.facts["both"] for result in block_gang(4)]
    assert results[1]["frames"] == 75
    assert [result.get("sent", 0) > 0 for result in results] == [False, False, True, False]
    assert [results[rank]["left"] for rank in (2, 3)] == [f"no batch b on rank {r}; begin it first" for r in (2, 3)]


def test_a_paused_batch_goes_on_from_memory_or_from_its_private_file(block_gang):
    results = [result.facts["both"] for result in block_gang(4)]
    assert [results[rank]["difference of a"] <= 1e-5 for rank in (0, 2, 3)] == [True] * 3
    assert {result["mode"] for result in results} == {"0o600"}
    assert results[1]["early"] == "batch a was paused after 6 steps, not 5"


@pytest.mark.parametrize("world_size", SIZES)
def test_a_deterministic_clip_gives_the_same_bytes_twice_in_the_given_layout(block_gang, world_size):
    for result in block_gang(world_size):
        for kind in ("video", "audio"):
            once, again = (result.tensors[f"{name}.{kind}"] for name in ("once", "again"))
            assert torch.equal(once.view(torch.int32), again.view(torch.int32))
            assert once.std() > 0.1
        twice = result.facts["twice"]
        assert twice["sent"] == [twice["expected"]] * 2 > [0, 0]
        stays, packed, misfit = twice["refused"]
        assert stays == f"batch again is deterministic and stays on ranks 0-{world_size - 1}; move another"
        assert packed == "a deterministic clip runs alone, and 2 clips were packed into one batch"
        assert "choose degrees that multiply to 2" in misfit


@pytest.mark.parametrize("world_size", SIZES)
def test_ranks_with_video_experts_only_make_the_same_clip(block_gang, world_size):
    results = [result.facts["video"] for result in block_gang(world_size)]
    assert max(result["difference"] for result in results) <= 1e-5
    weights = [result["weights"] for result in results]
    assert weights[:-1] == [weights[0]] * (world_size - 1) < weights[-1:] * (world_size - 1)
