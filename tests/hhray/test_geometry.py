"""The tables of the model specification, written out."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hhray.geometry import (
    DURATIONS,
    PIXELS,
    Box,
    ClipGeometry,
    Ratio,
    Resolution,
    Size,
    edited_length,
    frames_at_24,
    nearest_ratio,
)

WHOLE = Fraction(1)

# ratio: for each tier output pixels, pixels the model runs at, tokens per latent frame
PIXEL_TABLE = """
16:9 448x256 448x256 112   832x480 832x480 390   1280x720 1280x736 920   1920x1080 1920x1088 2040
9:16 256x448 256x448 112   480x832 480x832 390   720x1280 736x1280 920   1080x1920 1088x1920 2040
1:1  320x320 320x320 100   624x624 640x640 400   960x960  960x960  900   1440x1440 1440x1440 2025
4:3  384x288 384x288 108   720x544 736x544 391   1104x832 1120x832 910   1648x1248 1664x1248 2028
3:4  288x384 288x384 108   544x720 544x736 391   832x1104 832x1120 910   1248x1648 1248x1664 2028
4:5  288x352 288x352 99    560x704 576x704 396   848x1056 864x1056 891   1280x1600 1280x1600 2000
5:4  352x288 352x288 99    704x560 704x576 396   1056x848 1056x864 891   1600x1280 1600x1280 2000
21:9 512x224 512x224 112   960x416 960x416 390   1456x624 1472x640 920   2192x944  2208x960  2070
9:21 224x512 224x512 112   416x960 416x960 390   624x1456 640x1472 920   944x2192  960x2208  2070
"""
ROWS = [line.split() for line in PIXEL_TABLE.strip().splitlines()]

# seconds: latent frames, audio latents, frames delivered
LENGTHS = {
    3: (20, 77, 75), 4: (26, 101, 100), 5: (32, 125, 125), 6: (39, 153, 150), 7: (45, 177, 175), 8: (51, 201, 200),
    9: (57, 225, 225), 10: (64, 253, 250), 11: (70, 277, 275), 12: (76, 301, 300), 13: (82, 325, 325),
    14: (89, 353, 350), 15: (95, 377, 375),
}  # fmt: skip


def test_the_table_has_every_ratio():
    assert {row[0] for row in ROWS} == {ratio.value for ratio in Ratio}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
@pytest.mark.parametrize("tier", range(4), ids=[tier.value for tier in Resolution])
def test_pixels_and_tokens_are_the_tables(row, tier):
    output, run, tokens = row[1 + 3 * tier : 4 + 3 * tier]
    geometry = ClipGeometry(list(Resolution)[tier], Ratio(row[0]), 5)
    assert str(geometry.output) == output
    assert str(geometry.output.run()) == run
    assert geometry.run_grid.tokens_per_frame == int(tokens)
    assert str(geometry.base) == row[1]
    assert geometry.native_grid(WHOLE).tokens_per_frame == int(row[3])


@pytest.mark.parametrize(("seconds", "expected"), LENGTHS.items())
def test_latent_lengths_follow_the_recommended_formula(seconds, expected):
    geometry = ClipGeometry(Resolution.P720, Ratio.R16_9, seconds)
    assert (geometry.latent_frames, geometry.audio_latents, geometry.num_frames) == expected
    assert geometry.native_grid(WHOLE).decoded_frames == geometry.audio_latents
    assert geometry.num_frames <= geometry.native_grid(WHOLE).decoded_frames < geometry.num_frames + 4


@pytest.mark.parametrize(
    ("ratio", "rows", "columns", "tokens"),
    [
        ("16:9", 8, 14, 3584), ("9:16", 14, 8, 3584), ("4:3", 9, 12, 3456), ("3:4", 12, 9, 3456), ("1:1", 10, 10, 3200),
        ("4:5", 11, 9, 3168), ("5:4", 9, 11, 3168), ("21:9", 7, 16, 3584), ("9:21", 16, 7, 3584),
    ],
)  # fmt: skip
def test_token_counts_of_five_seconds_at_the_base(ratio, rows, columns, tokens):
    grid = ClipGeometry(Resolution.P1080, Ratio(ratio), 5).native_grid(WHOLE)
    assert (grid.rows, grid.columns, grid.num_tokens) == (rows, columns, tokens)
    assert (grid.height, grid.width) == (2 * rows, 2 * columns)


def test_a_small_network_draws_a_share_of_the_base_in_whole_tokens():
    clip, wide = ClipGeometry(Resolution.P720, Ratio.R16_9, 3), ClipGeometry(Resolution.P256, Ratio.R21_9, 3)
    assert str(clip.native(Fraction(5, 14))) == "160x96"  # of 448x256: 91.4 rows are rounded up to 96
    assert clip.native_grid(Fraction(5, 14)).num_tokens == 20 * 3 * 5
    assert str(wide.native(Fraction(1, 2))) == "256x128"
    assert all(ClipGeometry(Resolution.P256, ratio, 3).native(WHOLE) == PIXELS[ratio][0] for ratio in Ratio)


@pytest.mark.parametrize(
    ("size", "output", "part"),
    [
        (Size(160, 96), Size(448, 256), Box(0, 2, 160, 91)),
        (Size(1280, 736), Size(1280, 720), Box(0, 8, 1280, 720)),
        (Size(96, 160), Size(256, 448), Box(2, 0, 91, 160)),
        (Size(320, 320), Size(960, 960), Box(0, 0, 320, 320)),
    ],
)
def test_the_middle_of_a_size_is_what_is_delivered(size, output, part):
    assert size.middle(output.aspect) == part


# specification 2.1: seconds -> F = A, T, decoded frames of the published implementation
REFERENCE_LENGTHS = {
    3: (76, 19, 73), 4: (101, 26, 101), 5: (126, 32, 125), 6: (151, 38, 149), 8: (201, 51, 201), 10: (251, 63, 249),
    12: (301, 76, 301), 15: (376, 94, 373),
}  # fmt: skip


@pytest.mark.parametrize(("seconds", "expected"), REFERENCE_LENGTHS.items())
def test_reference_exact_lengths_are_those_of_the_published_implementation(seconds, expected):
    geometry = ClipGeometry(Resolution.P256, Ratio.R16_9, seconds, reference_exact=True)
    assert (geometry.audio_latents, geometry.latent_frames, geometry.num_frames) == expected
    assert geometry.native_grid(WHOLE).decoded_frames == geometry.num_frames


# specification 2.2: output size -> run size, tokens per latent frame, video tokens of 3, 5, 10 and 15 s
VIDEO_TOKENS = """
448x256   448x256   112  2128 3584 7056 10528
256x448   256x448   112  2128 3584 7056 10528
384x288   384x288   108  2052 3456 6804 10152
320x320   320x320   100  1900 3200 6300 9400
896x512   896x512   448  8512 14336 28224 42112
768x576   768x576   432  8208 13824 27216 40608
672x672   672x672   441  8379 14112 27783 41454
1280x720  1280x736  920  17480 29440 57960 86480
720x1280  736x1280  920  17480 29440 57960 86480
960x720   960x736   690  13110 22080 43470 64860
720x720   736x736   529  10051 16928 33327 49726
1088x832  1088x832  884  16796 28288 55692 83096
960x960   960x960   900  17100 28800 56700 84600
1920x1080 1920x1088 2040 38760 65280 128520 191760
1080x1920 1088x1920 2040 38760 65280 128520 191760
1440x1080 1440x1088 1530 29070 48960 96390 143820
1080x1080 1088x1088 1156 21964 36992 72828 108664
1632x1248 1632x1248 1989 37791 63648 125307 186966
1440x1440 1440x1440 2025 38475 64800 127575 190350
"""


@pytest.mark.parametrize("row", VIDEO_TOKENS.strip().splitlines(), ids=lambda row: row.split()[0])
def test_video_tokens_of_every_run_size(row):
    output, run, tokens, *totals = row.split()
    width, height = map(int, output.split("x"))
    size = Size(width, height).run()
    assert str(size) == run
    for seconds, total in zip((3, 5, 10, 15), totals, strict=True):
        frames = ClipGeometry(Resolution.P256, Ratio.R1_1, seconds, reference_exact=True).latent_frames
        grid = size.latent_grid(frames)
        assert (grid.tokens_per_frame, grid.num_tokens) == (int(tokens), int(total))


@pytest.mark.parametrize("seconds", DURATIONS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
@pytest.mark.parametrize("tier", range(4), ids=[tier.value for tier in Resolution])
def test_tokens_of_every_tier_ratio_and_length(row, tier, seconds):
    geometry = ClipGeometry(list(Resolution)[tier], Ratio(row[0]), seconds)
    frames = LENGTHS[seconds][0]
    assert geometry.run_grid.num_tokens == frames * int(row[3 + 3 * tier])
    assert geometry.native_grid(WHOLE).num_tokens == frames * int(row[3])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (3.0000001, (3, 3.0)),
        (2.9999999, (3, 3.0)),
        (3.4, (4, 3.4)),
        (15.2, (15, 15.0)),
        (60.0, (15, 15.0)),
        (1.5, (3, 1.5)),
    ],
)
def test_an_edited_video_keeps_its_length_up_to_15_seconds(seconds, expected):
    assert edited_length(seconds) == expected


@pytest.mark.parametrize("seconds", DURATIONS)
def test_24_frames_a_second_leave_out_one_frame_of_25_and_stay_in_step(seconds):
    chosen = frames_at_24(25 * seconds)
    assert len(chosen) == 24 * seconds
    assert sorted(set(range(25 * seconds)) - set(chosen)) == [25 * second + 12 for second in range(seconds)]
    assert list(chosen) == sorted(set(chosen))
    assert max(abs(k / 24 - frame / 25) for k, frame in enumerate(chosen)) <= 0.5 / 25 + 1e-12


@pytest.mark.parametrize("num_frames", [1, 12, 13, 37, 74, 76, 166, 374])
def test_24_frames_a_second_of_any_length_are_frames_of_the_clip(num_frames):
    chosen = frames_at_24(num_frames)
    assert chosen[-1] <= num_frames - 1
    assert abs(len(chosen) / 24 - num_frames / 25) <= 0.5 / 24
    assert list(chosen) == sorted(set(chosen))


def test_every_output_has_even_sides_as_the_encoder_needs():
    for ratio in Ratio:
        for tier in Resolution:
            size = ClipGeometry(tier, ratio, 3).output
            assert (size.width % 2, size.height % 2) == (0, 0)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        (Size(1920, 1080), "16:9"), (Size(1080, 1920), "9:16"), (Size(500, 500), "1:1"), (Size(640, 480), "4:3"),
        (Size(480, 640), "3:4"), (Size(2500, 1000), "21:9"), (Size(1000, 2500), "9:21"), (Size(800, 1000), "4:5"),
        (Size(1000, 800), "5:4"),
    ],
)  # fmt: skip
def test_a_picture_goes_to_the_nearest_ratio(size, ratio):
    assert nearest_ratio(size).value == ratio
