"""The polyphase resampler: lengths, tones, and what lies beyond the new rate's band."""

from __future__ import annotations

import math

import pytest
import torch

from engine.resample import resample


def tone(hertz, rate, seconds=0.5):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * hertz * time).float()[None]


@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(51_200, 48_000), (51_200, 44_100), (44_100, 51_200), (8_000, 51_200), (51_199, 48_000), (191_999, 48_000)],
)
def test_a_tone_stays_the_same_tone(from_rate, to_rate):
    result, expected = resample(tone(1000, from_rate), from_rate, to_rate), tone(1000, to_rate)
    assert abs(result.shape[1] - expected.shape[1]) <= 1
    inner = slice(to_rate // 20, to_rate // 20 * 9)  # away from the ends, where silence is assumed
    assert (result[:, inner] - expected[:, inner]).abs().max() < 1e-3


def test_a_tone_near_the_top_of_the_band_passes_and_one_above_it_is_removed():
    inner = slice(4_000, 20_000)
    assert resample(tone(19_000, 51_200), 51_200, 44_100)[:, inner].abs().max() > 0.97
    assert resample(tone(23_000, 51_200), 51_200, 44_100)[:, inner].abs().max() < 1e-3


def test_channels_are_apart_chunks_do_not_show_and_an_equal_rate_changes_nothing():
    sound = torch.cat([tone(440, 51_200, 2), torch.zeros(1, 102_400)])
    result = resample(sound, 51_200, 48_000)
    assert result.shape == (2, 96_000)
    assert result[1].abs().max() == 0
    inner = slice(60_000, 70_000)  # around the border of two chunks of output
    assert (result[:1] - tone(440, 48_000, 2))[:, inner].abs().max() < 1e-3
    assert resample(sound, 48_000, 48_000) is sound
    assert resample(sound[:, :0], 51_200, 48_000).shape == (2, 0)
