"""What the tests of modes share: pictures and a video served over HTTP, clips through the official client."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import av
import httpx
import numpy as np
from PIL import Image

from server_process import ServerProcess

SOURCE_SECONDS, SOURCE_RATE, TONE = 3.4, 30, 440


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


class MediaServer:
    """Serves a folder on loopback while the `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def write_pictures(folder: Path) -> None:
    """one.png: red on the left, blue on the right; two.png: green and black."""
    for name, left, right in (("one.png", (200, 40, 40), (40, 40, 200)), ("two.png", (40, 200, 40), (20, 20, 20))):
        picture = np.zeros((480, 480, 3), np.uint8)
        picture[:, :240], picture[:, 240:] = left, right
        Image.fromarray(picture).save(folder / name)


def write_video(path: Path) -> None:
    """A white bar that moves over grey, 480x360 at 30 frames a second, and a tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=SOURCE_RATE)
        video.width, video.height, video.pix_fmt = 480, 360, "yuv420p"
        sound = container.add_stream("aac", rate=44100, layout="stereo")
        for index in range(round(SOURCE_SECONDS * SOURCE_RATE)):
            pixels = np.full((360, 480, 3), 60, np.uint8)
            pixels[:, 4 * index : 4 * index + 60] = 250
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        time = np.arange(round(SOURCE_SECONDS * 44100)) / 44100
        wave = np.repeat(0.4 * np.sin(2 * np.pi * TONE * time)[None], 2, 0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())


def make(server: ServerProcess, path: Path, model: str, prompt: str, **options: Any) -> tuple[dict[str, Any], Path]:
    """A clip through the official client: its whole answer, and the file."""
    import dashscope
    from dashscope import VideoSynthesis
    from dashscope.api_entities.http_request import close_shared_sync_session

    dashscope.base_http_api_url = f"{server.url}/api/v1"
    task = VideoSynthesis.async_call(api_key="any", model=f"happyhorse-{model}", prompt=prompt, seed=7, **options)
    assert task.status_code == 200, task
    with server.client() as client:  # polls more often than the official client's own wait
        raw = client.wait(task.output.task_id, timeout_seconds=200).raw
    answer = VideoSynthesis.fetch(task.output.task_id, api_key="any")
    close_shared_sync_session()
    assert answer.status_code == 200, answer
    assert answer.output.task_status == "SUCCEEDED", answer
    response = httpx.get(answer.output.video_url)
    path.write_bytes(response.content)
    return raw, path


def frames_and_sound(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return frames, sound
