"""Every mode from request to MP4: a checkpoint on disk behind the real server, called by the unmodified client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from mode_clips import SOURCE_SECONDS, TONE, MediaServer, frames_and_sound, make
from server_process import ServerProcess


def assert_starts_with(frames: np.ndarray, picture: Path) -> None:
    height, width = frames.shape[1:3]
    wanted = np.asarray(Image.open(picture).resize((width, height))).astype(int)
    assert np.abs(frames[0].astype(int) - wanted).mean() < 14


def test_text_with_language_and_dialogue(server: ServerProcess, tmp_path: Path) -> None:
    spoken = {"extra_input": {"dialogue": "Bonjour !"}, "language": "French"}
    options: dict[str, Any] = {"resolution": "256P", "ratio": "1:1", "duration": 3}
    answer, clip = make(server, tmp_path / "a.mp4", "1.0-t2v", "a baker", **options, **spoken)
    frames, sound = frames_and_sound(clip)
    assert frames.shape == (75, 320, 320, 3)
    assert np.sqrt((sound**2).mean()) > 1e-3
    assert "notice" not in answer["output"]
    assert answer["output"]["orig_prompt"] == "a baker"


def test_a_first_frame_through_super_resolution(server: ServerProcess, media: MediaServer, tmp_path: Path) -> None:
    items = [{"type": "first_frame", "url": f"{media.url}/one.png"}]
    answer, clip = make(
        server, tmp_path / "clip.mp4", "1.1-i2v", "it moves", media=items, resolution="480P", duration=3
    )
    frames, _ = frames_and_sound(clip)
    assert frames.shape == (75, 624, 624, 3)
    assert "notice" not in answer["output"], "480P has super-resolution weights here"
    assert_starts_with(frames, media.folder / "one.png")


def test_references_fall_back_to_a_first_frame_and_say_so(
    server: ServerProcess, media: MediaServer, tmp_path: Path
) -> None:
    items = [{"type": "reference_image", "url": f"{media.url}/{name}.png"} for name in ("one", "two")]
    prompt = "[Image 1] meets character2"
    options: dict[str, Any] = {"media": items, "resolution": "256P", "ratio": "4:3", "duration": 3}
    answer, clip = make(server, tmp_path / "clip.mp4", "1.0-r2v", prompt, **options)
    frames, _ = frames_and_sound(clip)
    assert frames.shape == (75, 288, 384, 3)
    assert "reference" in answer["output"]["notice"]
    assert answer["usage"]["ratio"] == "4:3"
    left, right = frames[0][:, :150].mean((0, 1)), frames[0][:, -150:].mean((0, 1))
    assert left[0] > left[2] + 60, "the first reference is red on the left"
    assert right[2] > right[0] + 60, "and blue on the right"


def test_an_edited_video_keeps_its_length_and_sound(server: ServerProcess, media: MediaServer, tmp_path: Path) -> None:
    items = [
        {"type": "video", "url": f"{media.url}/source.mp4"},
        {"type": "reference_image", "url": f"{media.url}/two.png"},
    ]
    options: dict[str, Any] = {"media": items, "resolution": "256P", "audio_setting": "origin"}
    answer, clip = make(server, tmp_path / "clip.mp4", "1.0-video-edit", "the bar is [Image 1]", **options)
    frames, sound = frames_and_sound(clip)
    assert frames.shape == (85, 288, 384, 3), "3.4 s at 25 frames a second, 4:3"
    assert "edit" in answer["output"]["notice"]
    assert answer["usage"]["output_video_duration"] == pytest.approx(SOURCE_SECONDS, abs=0.05)
    assert "ratio" not in answer["usage"]
    spectrum = np.abs(np.fft.rfft(sound[0]))
    loudest = np.argmax(spectrum) * 48000 / sound.shape[1]
    assert loudest == pytest.approx(TONE, abs=2)


def test_strict_capabilities_refuse_the_fallback(server: ServerProcess, media: MediaServer) -> None:
    body = {
        "model": "happyhorse-1.0-r2v",
        "input": {"prompt": "x", "media": [{"type": "reference_image", "url": f"{media.url}/one.png"}]},
        "parameters": {"strict_capabilities": True, "duration": 3},
    }
    path = "/api/v1/services/aigc/video-generation/video-synthesis"
    answer = httpx.post(server.url + path, json=body, headers={"X-DashScope-Async": "enable"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidParameter"
    assert "not trained" in answer.json()["message"]
