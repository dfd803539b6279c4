"""Marks in the written file: where they are drawn, that they can be read, and what the file says of itself."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import engine.clip_files as files_module
from engine.clip import Clip
from engine.clip_files import ClipFiles
from engine.marking.aigc import read_metadata
from engine.marking.clip_marks import marks_of
from engine.marking.fonts import missing_characters, open_font
from engine.marking.invisible import load_invisible
from engine.marking.stamp import stamp
from engine.pixels import PixelLayout
from engine.video_encoder import VideoEncoder
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, Ratio, Resolution, Size
from hhray.marking import Marking

WIDE, HIGH = Size(448, 256), Size(256, 448)
BOTH = Marking(watermark="Happy Horse", label="AI-generated", producer="Acme 工作室")
TASK = "11111111-2222-4333-8444-555555555555"
BROKEN = VideoEncoder("libx264", {"preset": "no such preset"})


class Checkered:
    """An imperceptible watermark of a kind: the first pixel of each picture tells its payload and its number."""

    def embed(self, luma, payload, index):
        luma[0, 0], luma[0, 1] = 16 + payload[0] % 100, 16 + index


def clip_of(level, size=WIDE, num_frames=60, rate=25):
    frames = torch.full((num_frames, size.height, size.width, 3), level, dtype=torch.uint8)
    return Clip(frames, torch.zeros(2, 48_000 * 3), 48_000, size, num_frames, rate)


def marks(marking, clip, **options):
    return marks_of(marking, TASK, clip.delivery, **({"font": "", "invisible": None} | options))


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(int)


def correlation(picture, plain, made):
    """Of what was changed with what the stamp changes, over the stamp's box; and of the change outside of all boxes."""
    layer = made.luma
    height, width = layer.kept.shape
    box = np.s_[layer.top : layer.top + height, layer.left : layer.left + width]
    wanted = ((plain[box] * layer.kept + layer.added) >> 8) - plain[box]
    return np.corrcoef((picture - plain)[box].ravel(), wanted.ravel())[0, 1]


@pytest.mark.parametrize("size", [WIDE, HIGH])
@pytest.mark.parametrize("level", [6, 128, 250])
def test_watermark_and_label_are_found_in_the_file_on_dark_and_on_light_and_nowhere_else(tmp_path, size, level):
    clip = clip_of(level, size, 3)
    made = marks(BOTH, clip)
    clip.save(tmp_path / "plain.mp4")
    clip.save(tmp_path / "marked.mp4", made)
    plain, marked = frames_of(tmp_path / "plain.mp4"), frames_of(tmp_path / "marked.mp4")
    for index in range(3):
        assert correlation(marked[index], plain[index], made.watermark) > 0.95
        assert correlation(marked[index], plain[index], made.label) > 0.95
    changed = np.abs(marked[0] - plain[0]) > 6
    assert changed.any()
    rows, columns = np.nonzero(changed)
    short = min(size.width, size.height)
    top, bottom = rows < size.height / 2, rows >= size.height / 2
    assert rows[top].max() < 0.15 * short
    assert columns[bottom].min() > size.width - 0.5 * short, "bottom right"
    contrast = np.abs(marked[0] - plain[0])[bottom_right(size)].max()
    assert contrast > 60, "it can be read on this ground"


def bottom_right(size):
    return np.s_[size.height // 2 :, size.width // 2 :]


@pytest.mark.parametrize(("rate", "num_labelled"), [(25, 50), (24, 48)])
def test_the_label_stands_for_two_seconds_and_the_watermark_to_the_end(tmp_path, rate, num_labelled):
    clip = clip_of(40, num_frames=75, rate=rate)
    made = marks(BOTH, clip)
    clip.save(tmp_path / "clip.mp4", made)
    frames = frames_of(tmp_path / "clip.mp4")
    brightest = frames[:, : WIDE.height // 2].max((1, 2))
    assert (brightest[:num_labelled] > 180).all()
    assert (brightest[num_labelled:] < 90).all()
    assert (frames[:, WIDE.height // 2 :].max((1, 2)) > 180).all()


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("ratio", [Ratio.R16_9, Ratio.R9_21])
def test_letters_are_as_high_as_the_standard_asks_on_every_size(resolution, ratio):
    size = ClipGeometry(resolution, ratio, 3).output
    short = min(size.width, size.height)
    label, watermark = stamp("AI-generated", size, "top left", ""), stamp("Happy Horse", size, "bottom right", "")
    assert label.height >= 0.05 * short
    solid = label.luma.kept.min(1) < 256 * 0.3  # rows in which some pixel is a letter's
    assert solid.sum() >= 0.05 * short
    assert 0.03 * short <= watermark.height < label.height
    for made in (label, watermark):
        rows, columns = made.luma.kept.shape
        assert 0 < made.luma.top < size.height - rows
        assert 0 < made.luma.left < size.width - columns
        assert (made.luma.kept.astype(np.uint32) * 255 + made.luma.added).max() < 2**16
        assert rows * columns < 0.05 * size.width * size.height


def test_only_the_box_is_touched_and_the_decoders_memory_is_not():
    clip = clip_of(90)
    layout = PixelLayout.of_clip(WIDE, WIDE)
    planes = layout.laid_out(clip.decoded[:1])
    before, made = planes.clone(), marks(BOTH, clip)
    (drawn,) = made.drawn_on(layout.pictures(iter(planes), own=made.draws))
    assert torch.equal(planes, before)
    difference = np.abs(drawn.to_ndarray().astype(int) - before[0].numpy())[: WIDE.height]
    boxes = np.zeros_like(difference, bool)
    for layer in (made.watermark.luma, made.label.luma):
        height, width = layer.kept.shape
        boxes[layer.top : layer.top + height, layer.left : layer.left + width] = True
    assert difference[boxes].max() > 50
    assert difference[~boxes].max() == 0


def test_the_file_says_that_it_is_generated_and_nothing_of_the_prompt(tmp_path):
    clip = clip_of(40, num_frames=3)
    clip.save(tmp_path / "clip.mp4", marks(BOTH, clip))
    metadata = read_metadata(tmp_path / "clip.mp4")
    assert set(metadata) <= {"AIGC", "encoder", "major_brand", "minor_version", "compatible_brands"}
    assert json.loads(metadata["AIGC"]) == {
        "Label": "1",
        "ContentProducer": "Acme 工作室",
        "ProduceID": TASK,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    clip.save(tmp_path / "plain.mp4")
    assert "AIGC" not in read_metadata(tmp_path / "plain.mp4")


class Written:
    """A decode that is done: what ClipFiles asks of one."""

    def __init__(self, clip, layout):
        self.delivery, self.layout, self.notice = clip.delivery, layout, ""
        planes = layout.laid_out(clip.decoded)
        self.frames = type("Frames", (), {"frame": lambda _, index: planes[index]})()
        self.sound = type("Sound", (), {"result": lambda _: (clip.sound, clip.sound_rate)})()


@pytest.mark.parametrize("size", [WIDE, Size(320, 192)])
def test_a_rank_writes_the_file_the_clip_saves_also_when_its_encoder_fails_on_the_way(tmp_path, monkeypatch, size):
    clip = clip_of(40, num_frames=5)
    clip = Clip(clip.decoded, clip.sound, clip.sound_rate, size, 5)
    made, real, calls = marks(BOTH, clip), files_module.write_mp4, []

    def failing(path, pictures, sound, delivery, encoder, tags):
        calls.append(encoder.name)
        if encoder is BROKEN:
            for _ in pictures:  # it took all of them, and they were marked
                pass
            raise av.error.ExternalError(1, "the encoder died")
        real(path, pictures, sound, delivery, encoder, tags)

    monkeypatch.setattr(files_module, "write_mp4", failing)
    files = ClipFiles(tmp_path / "scratch", BROKEN)
    try:
        files.begin("b", 0, Written(clip, PixelLayout.of_clip(WIDE, size)), made)
        report = files.finish("b", 0, "clip.mp4")
    finally:
        files.close()
    assert len(calls) == 2
    assert report.marks == ("watermark", "label", "aigc")
    clip.save(tmp_path / "saved.mp4", made)
    assert Path(report.path).read_bytes() == (tmp_path / "saved.mp4").read_bytes()


def test_what_a_font_lacks_is_named_and_what_it_has_is_not():
    assert missing_characters("Happy Horse, AI-generated (2026)!", "") == ""
    assert missing_characters("AI生成", "") == "生成"
    with pytest.raises(ConfigError, match=r"marking\.font: '/no/such\.ttf'"):
        open_font("/no/such.ttf", 20)


def test_a_long_watermark_is_made_smaller_and_a_label_that_has_no_room_is_refused():
    long, short = stamp("w" * 64, HIGH, "bottom right", ""), stamp("Happy Horse", HIGH, "bottom right", "")
    assert long.height < short.height
    assert long.luma.left + long.luma.kept.shape[1] <= HIGH.width
    with pytest.raises(ConfigError, match="has room for"):
        stamp("w" * 64, HIGH, "top left", "")


def test_an_imperceptible_watermark_sees_every_picture_before_anything_is_drawn():
    clip = clip_of(90)
    marking = Marking(watermark="Happy Horse", invisible=True)
    with pytest.raises(ConfigError, match="names none"):
        marks(marking, clip)
    made = marks(marking, clip, invisible=load_invisible(f"{__name__}:Checkered") or Checkered())
    layout = PixelLayout.of_clip(WIDE, WIDE)
    planes = layout.laid_out(clip.decoded[:4])
    drawn = [picture.to_ndarray() for picture in made.drawn_on(layout.pictures(iter(planes), own=True))]
    assert [int(one[0, 1]) for one in drawn] == [16, 17, 18, 19]
    assert {int(one[0, 0]) for one in drawn} == {16 + ord("1")}
    assert made.names == ("invisible", "watermark")
    for one, other in pairwise(drawn):
        assert np.array_equal(one[WIDE.height // 2 : WIDE.height], other[WIDE.height // 2 : WIDE.height])


@pytest.mark.parametrize(
    ("spec", "said"),
    [("nothing", "expected package.module:Class"), ("no.such:Thing", "cannot import"), ("json:loads", "is no class"),
     ("pathlib:Path", "lacks the methods embed")],
)  # fmt: skip
def test_an_imperceptible_watermark_that_is_not_there_is_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        load_invisible(spec)


def test_the_bundled_font_draws_what_the_label_says():
    """A drawing of the same text by Pillow itself lies where the stamp is most opaque."""
    made, font = stamp("AI", Size(1280, 720), "top left", ""), None
    opacity = 256 - made.luma.kept.astype(int)
    pixels = made.height
    while font is None or font.getbbox("A")[3] - font.getbbox("A")[1] < made.height:
        font, pixels = open_font("", pixels), pixels + 1
    image = Image.new("L", opacity.shape[::-1])
    left, top, _, _ = font.getbbox("AI", stroke_width=max(1, round(0.07 * font.size)))
    ImageDraw.Draw(image).text((-left, -top), "AI", fill=255, font=font)
    assert opacity[np.asarray(image) == 255].min() > 220
