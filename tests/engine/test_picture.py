"""Conditioning pictures, good and hostile."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from engine.picture import load_picture, probe_picture
from hhray.errors import MediaError
from hhray.geometry import Size

LIMIT = 1_000_000


def save(path, size, image_format, mode="RGB", **options):
    Image.linear_gradient("L").resize(size).convert(mode).save(path, image_format, **options)
    return path


def claimed_png(width, height):
    """A PNG header that claims a size, with next to nothing behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_pictures_of_the_three_formats_are_cropped_resized_and_scaled(tmp_path, image_format):
    path = save(tmp_path / "picture", (90, 60), image_format)
    assert probe_picture(path, LIMIT) == Size(90, 60)
    picture = load_picture(path, Size(32, 48), LIMIT)
    assert picture.shape == (3, 48, 32)
    assert -1 <= picture.min() < -0.9
    assert 0.9 < picture.max() <= 1


def test_the_crop_is_about_the_centre(tmp_path):
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    image.save(tmp_path / "middle.png")
    picture = load_picture(tmp_path / "middle.png", Size(32, 32), LIMIT)
    assert picture[:, :, 2:-2].min() > 0.98  # the filter reaches into the black at the very edge


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    path = save(tmp_path / "picture", (64, 64), "JPEG" if mode == "CMYK" else "PNG", mode)
    assert load_picture(path, Size(32, 32), LIMIT).shape == (3, 32, 32)


def test_orientation_of_the_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    path = save(tmp_path / "turned.jpg", (90, 60), "JPEG", exif=exif)
    assert probe_picture(path, LIMIT) == Size(60, 90)
    upright = load_picture(path, Size(60, 90), LIMIT)[0]
    assert upright[:, 55].mean() < upright[:, 5].mean()  # top of the stored picture, dark, is now on the right


@pytest.mark.parametrize("check", [probe_picture, lambda path, limit: load_picture(path, Size(32, 32), limit)])
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (1001, 1000)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, check, size):
    (tmp_path / "bomb.png").write_bytes(claimed_png(*size))
    with pytest.raises(MediaError, match="at most 1,000,000 pixels") as caught:
        check(tmp_path / "bomb.png", LIMIT)
    assert caught.value.code == "BadRequest.TooLarge"


@pytest.mark.parametrize("limit", [LIMIT, 10**10])
def test_pillows_own_bomb_warning_counts_as_too_large(tmp_path, limit):
    (tmp_path / "bomb.png").write_bytes(claimed_png(10_000, 10_000))
    with pytest.raises(MediaError) as caught:
        probe_picture(tmp_path / "bomb.png", limit)
    assert caught.value.code == "BadRequest.TooLarge"


def hostile_files():
    return {
        "empty": b"",
        "text": b"this is no picture",
        "html": b"<html><body>403</body></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "no_data": claimed_png(100, 100),
        "zero_size": claimed_png(0, 0),
        "gif": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
    }


@pytest.mark.parametrize("name", hostile_files())
def test_files_that_are_no_picture_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(hostile_files()[name])
    with pytest.raises(MediaError, match="JPEG, PNG or WEBP") as caught:
        probe_picture(tmp_path / name, LIMIT)
    assert caught.value.code == "BadRequest.UnsupportedFileFormat"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_refused(tmp_path, image_format):
    path = save(tmp_path / "whole", (200, 200), image_format)
    (tmp_path / "half").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError):
        probe_picture(tmp_path / "half", LIMIT)
