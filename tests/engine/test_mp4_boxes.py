"""Boxes of MP4 files: what is emptied of a good one, and that a bad one ends in a sentence or in nothing."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mp4_boxes import VideoCaps, survey, write_patched
from hhray.errors import MediaError

CAPS = VideoCaps(seconds=60, frames=1000, tracks=4, pixels=4096**2)


@pytest.fixture(scope="module")
def film() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["title"] = "SECRETTITLE"
        pictures = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        pictures.width, pictures.height = 64, 48
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for _ in range(5):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        container.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "fltp", "mono")
        frame.rate = 48000
        container.mux([*sound.encode(frame), *sound.encode(None)])
    return buffer.getvalue()


def cleaned(data: bytes, caps: VideoCaps = CAPS) -> bytes:
    target = io.BytesIO()
    source = io.BytesIO(data)
    write_patched(source, target, survey(source, caps))
    return target.getvalue()


def kinds(data: bytes) -> list[str]:
    with av.open(io.BytesIO(data), format="mp4") as container:
        return [stream.type for stream in container.streams]


def frames(data: bytes) -> list[tuple[int, bytes]]:
    with av.open(io.BytesIO(data), format="mp4") as container:
        return [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]


def test_metadata_goes_and_nothing_else_moves(film):
    clean = cleaned(film)
    assert len(clean) == len(film)
    assert b"SECRETTITLE" in film
    assert b"SECRETTITLE" not in clean
    assert frames(clean) == frames(film)
    assert kinds(clean) == ["video", "audio"]
    assert cleaned(clean) == clean


def test_a_track_that_is_neither_picture_nor_sound_goes_as_a_whole(film):
    timed = film.replace(b"soun", b"meta")
    assert len(kinds(timed)) == 2
    assert kinds(cleaned(timed)) == ["video"]


@pytest.mark.parametrize(
    ("caps", "part"),
    [
        (VideoCaps(0.1 - 2, 1000, 4, 4096**2), "seconds; send one of at most"),
        (VideoCaps(60, 4, 4, 4096**2), "the video has 5 pictures; send one of at most 4"),
        (VideoCaps(60, 5, 1, 4096**2), "more than 1 tracks"),
        (VideoCaps(60, 5, 2, 64 * 48 - 1), "the video is 64x48"),
    ],
)
def test_what_the_headers_promise_is_held_to_the_caps(film, caps, part):
    with pytest.raises(MediaError, match=part) as caught:
        cleaned(film, caps)
    assert caught.value.code == "BadRequest.TooLarge"
    cleaned(film, VideoCaps(60, 5, 2, 64 * 48))


def test_hidden_headers_and_endless_boxes_are_refused(film):
    with pytest.raises(MediaError, match="headers are compressed"):
        cleaned(film.replace(b"mvhd", b"cmov"))
    with pytest.raises(MediaError, match="more than 100000 boxes"):
        cleaned(film[:32] + struct.pack(">I4s", 8, b"free") * 100_001)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_ends_in_a_sentence_or_in_a_copy_of_the_same_size(film, data):
    damaged = bytearray(film)
    begin = film.index(b"moov")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(begin, len(film) - 4))
        damaged[at : at + 4] = data.draw(st.sampled_from([bytes(4), b"\xff" * 4, b"\0\0\0\1", b"\0\0\0\x09", b"trak"]))
    refused = ""
    try:
        kept = cleaned(bytes(damaged))
    except MediaError as error:
        refused = error.message
    assert "send" in refused if refused else len(kept) == len(film)
