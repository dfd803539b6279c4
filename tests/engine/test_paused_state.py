"""The file of a paused batch: complete or not there, private, and refused when it is not what it should be."""

from __future__ import annotations

import pytest
import torch

from engine.clip_state import ClipState, LatentState, StateForm
from engine.paused_state import read_state, write_state
from engine.samplers.base import SolverState
from hhray.errors import EngineFault

FORM = StateForm((((2, 3), (4,)),), (5,))


def state_of(value: float) -> ClipState:
    remembered = SolverState(1, (torch.full((2, 3), value + 1),))
    latents = LatentState(torch.full((2, 3), value), remembered), LatentState(torch.zeros(4), SolverState(0, ()))
    return ClipState(0, 3, latents, (torch.arange(5, dtype=torch.uint8),))


def test_a_later_pause_takes_the_place_of_an_earlier_one(tmp_path):
    path = tmp_path / "scratch" / "b.paused"
    for value in (1.0, 2.0):
        write_state(path, state_of(value))
    found, wanted = read_state(path, FORM), state_of(2.0)
    assert torch.equal(found.head(), wanted.head())
    assert torch.equal(found.body(), wanted.body())
    assert found.next_step == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["b.paused"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "b.paused").mkdir()
    with pytest.raises(OSError, match=r"b\.paused"):
        write_state(tmp_path / "b.paused", state_of(1.0))
    assert [one.name for one in tmp_path.iterdir()] == ["b.paused"]


def test_a_file_that_is_not_this_batch_is_refused(tmp_path):
    path = tmp_path / "b.paused"
    with pytest.raises(EngineFault, match=r"cannot be read .* its clips must begin anew"):
        read_state(path, FORM)
    path.write_bytes(b"no tensors at all")
    with pytest.raises(EngineFault, match="cannot be read"):
        read_state(path, FORM)
    write_state(path, state_of(1.0))
    with pytest.raises(EngineFault, match="has other sizes"):
        read_state(path, StateForm((((2, 4), (4,)),), (5,)))


def test_a_copy_on_the_host_is_not_touched_by_later_steps():
    state = state_of(1.0)
    kept = state.on_host()
    state.latents[0].latent.zero_()
    assert kept.latents[0].latent.unique().tolist() == [1.0]
