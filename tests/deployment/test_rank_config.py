"""What a gang tells each rank of the settings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployment import rank_actor
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import Settings


@pytest.mark.parametrize("word", ["plain", "int8"])
def test_ranks_are_told_the_precision_of_attention(monkeypatch, word):
    told = []
    monkeypatch.setattr(rank_actor, "get_current_placement_group", lambda: None)
    monkeypatch.setattr(
        rank_actor, "RankActor", SimpleNamespace(options=lambda **_: SimpleNamespace(remote=told.append))
    )
    settings = Settings(engine={"attention_precision": word, "preset": "pico"})
    rank_actor.create_rank(settings, ServedModel(preset("pico")), 1)
    assert [worker.attention_precision for worker in told] == [word]
