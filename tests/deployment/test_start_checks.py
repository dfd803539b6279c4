"""Settings whose marks cannot be made are refused before anything starts, and the message says what to do."""

from __future__ import annotations

import pytest

from deployment.app import build
from deployment.start_checks import check_hooks
from hhray.errors import ConfigError
from hhray.settings import Settings


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"marking": {"regions": ["cn"]}}, r"marking\.label_text: the font of Pillow has no '生成' .* marking\.font"),
        ({"marking": {"watermark_text": "Лошадь"}}, r"marking\.watermark_text: .* has no 'Лошадь'"),
        ({"tenants": {"acme": {"marking": {"watermark_text": "é"}}}}, r"tenants\.acme\.marking\.watermark_text"),
        ({"marking": {"font": "/no/such.ttf"}}, r"marking\.font: '/no/such\.ttf' cannot be read"),
        ({"marking": {"label": True, "label_text": "w" * 40}}, "choose a shorter text"),
        ({"marking": {"c2pa_certificate": "/no/a", "c2pa_key": "/no/b"}}, r"marking\.c2pa_certificate: '/no/a'"),
        ({"marking": {"invisible": "no.such:Mark"}}, r"marking\.invisible: cannot import"),
        ({"moderation": {"check": "no.such:Check"}}, r"moderation\.check: cannot import"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_setting_named(groups, said):
    with pytest.raises(ConfigError, match=said):
        check_hooks(Settings(**groups))


def test_the_defaults_and_a_latin_label_in_china_pass(tmp_path):
    check_hooks(Settings())
    check_hooks(Settings(marking={"regions": ["cn"], "label_text": "AI-generated"}))


def test_a_configuration_of_serve_is_refused_alike(tmp_path):
    with pytest.raises(ConfigError, match=r"marking\.label_text"):
        build({"data_dir": str(tmp_path), "engine": {"preset": "pico"}, "marking": {"regions": ["cn"]}})
