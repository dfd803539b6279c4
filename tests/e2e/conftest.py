"""One real server for all tests that do not stop it; what survives the kills serves the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hhray.model_size import preset
from mode_clips import MediaServer, write_pictures, write_video
from server_process import ServerProcess
from tiny_release import write_tiny_release


@pytest.fixture(scope="package")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaServer]:
    """Pictures and a video that clients refer to by URL."""
    folder = tmp_path_factory.mktemp("media")
    write_pictures(folder)
    write_video(folder / "source.mp4")
    with MediaServer(folder) as media:
        yield media


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, media: MediaServer) -> Iterator[ServerProcess]:
    """A running server of a small release on disk, with super-resolution for 480P alone; at the end it must stop
    cleanly and leave neither process nor Ray directory."""
    home = tmp_path_factory.mktemp("server")
    write_tiny_release(home / "small", size=preset("pico"), parts=("distill", "540p_sr"), seed=4)
    server = ServerProcess(
        home,
        media={"allowed_private": [media.address]},
        checkpoint=str(home / "small"),
        super_resolution={"480P": "540p_sr", "720P": "none", "1080P": "none"},
    )
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        assert server.stop() == 0, server.log_tail()
    assert server.processes() == []
    assert not server.ray_dir.exists()
