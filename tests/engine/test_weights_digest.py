"""Weights are named by their bytes and the names of their files."""

from __future__ import annotations

import os

from engine.checkpoint.digest import weights_digest


def test_the_name_follows_bytes_and_file_names_and_nothing_else(tmp_path):
    for folder in ("a", "b", "other bytes", "other name"):
        (tmp_path / folder / "text").mkdir(parents=True)
        (tmp_path / folder / "model.safetensors").write_bytes(b"weights")
        (tmp_path / folder / "text" / "x").write_bytes(b"x")
    os.utime(tmp_path / "b" / "model.safetensors", (0, 0))
    (tmp_path / "other bytes" / "text" / "x").write_bytes(b"y")
    (tmp_path / "other name" / "text" / "x").rename(tmp_path / "other name" / "text" / "z")
    names = [weights_digest(tmp_path / folder, "") for folder in ("a", "b", "other bytes", "other name")]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert {len(name) for name in names} == {64}


def test_random_weights_are_named_by_their_preset_and_unreadable_ones_by_nothing(tmp_path):
    assert weights_digest(None, "pico") == "random:pico"
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert len(weights_digest(tmp_path, "")) == 64
