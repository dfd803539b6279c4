"""Proof: every mode on the tiny preset, all 40 layers, through the real server with the unmodified client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mode_clips import MediaServer, frames_and_sound, make, write_pictures, write_video
from server_process import ServerProcess

REFERENCES = [("reference_image", "one.png"), ("reference_image", "two.png")]
CASES: dict[str, tuple[str, list[tuple[str, str]], dict[str, Any]]] = {
    "t2v": ("1.0-t2v", [], {"language": "German", "resolution": "720P"}),
    "i2v": ("1.0-i2v", [("first_frame", "one.png")], {"resolution": "720P"}),
    "r2v": ("1.0-r2v", REFERENCES, {"resolution": "256P"}),
    "video-edit": ("1.0-video-edit", [("video", "source.mp4"), REFERENCES[1]], {"audio_setting": "origin"}),
}


@pytest.mark.proof
def test_all_modes_on_the_tiny_preset(tmp_path: Path, keep_proof: Callable[[str, dict[str, Any]], None]) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write_pictures(files)
    write_video(files / "source.mp4")
    with MediaServer(files) as media:
        server = ServerProcess(
            tmp_path, media={"allowed_private": [media.address]}, preset="tiny", watchdog_floor_seconds=120.0
        )
        server.start()
        try:
            result = {mode: _clip(server, media, tmp_path, mode) for mode in CASES}
        finally:
            assert server.stop() == 0, server.log_tail()
    keep_proof("modes_tiny", {"preset": "tiny", "modes": result})


def _clip(server: ServerProcess, media: MediaServer, folder: Path, mode: str) -> dict[str, Any]:
    model, items, options = CASES[mode]
    given = {"media": [{"type": kind, "url": f"{media.url}/{name}"} for kind, name in items]} if items else {}
    length = {} if mode == "video-edit" else {"duration": 3}
    began = time.monotonic()
    answer, path = make(server, folder / f"{mode}.mp4", model, "a bar moves", **given, **length, **options)
    seconds = time.monotonic() - began
    frames, sound = frames_and_sound(path)
    assert len(frames) == (85 if mode == "video-edit" else 75)
    assert frames.std() > 5
    assert (sound**2).mean() > 1e-6
    output = answer["output"]
    return {
        "frames": list(frames.shape),
        "sound_rms": round(float((sound**2).mean() ** 0.5), 4),
        "seconds": round(seconds, 1),
        "stages": output["stages"],
        "notice": output.get("notice", ""),
    }
