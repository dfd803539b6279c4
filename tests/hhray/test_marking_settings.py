"""Which marks a clip gets: the request, the tenant, the server and the law of a region."""

from __future__ import annotations

import pytest

from hhray.errors import ConfigError
from hhray.marking import UNMARKED, Marking
from hhray.marking_settings import MarkingPolicy, MarkingSettings, marking_of
from hhray.request import ClipRequest, Mode
from hhray.settings import load_settings

KEY = {"c2pa_certificate": "chain.pem", "c2pa_key": "key.pem"}


def marks(server=None, tenant=None, asked=True):
    return marking_of(MarkingSettings(**(server or {})), MarkingPolicy(**(tenant or {})), asked)


def test_by_default_a_clip_has_the_watermark_unless_it_is_declined_and_the_field_always():
    assert marks() == Marking(watermark="Happy Horse", producer="hhray")
    assert marks(asked=False) == Marking(producer="hhray")
    assert marks().parts == ("watermark", "aigc")


@pytest.mark.parametrize(
    ("rule", "asked", "drawn"),
    [("asked", True, True), ("asked", False, False), ("always", False, True), ("never", True, False)],
)
def test_who_decides_the_watermark(rule, asked, drawn):
    assert bool(marks({"watermark": rule}, asked=asked).watermark) is drawn


def test_china_asks_for_an_opening_label_and_others_do_not():
    assert marks({"regions": ["cn"]}).label == "AI生成"
    assert marks({"regions": ["cn"]}).label_seconds == 2
    assert marks({"label": True}).label == "AI-generated"
    assert marks({"label": True, "label_text": "Made by AI"}).label == "Made by AI"
    assert marks().label == ""


def test_a_tenant_changes_what_it_names_and_nothing_else():
    server = {"watermark_text": "Acme", "producer": "acme", "label": True}
    made = marks(server, {"label": False, "watermark": "never"})
    assert made == Marking(producer="acme")
    assert marks({"aigc": True}, {"aigc": False, "watermark": "never"}) == UNMARKED
    assert marks({}, {"regions": ["cn"]}).label == "AI生成"


def test_files_are_signed_as_soon_as_there_is_a_key():
    assert marks(KEY).signed
    assert not marks(KEY, {"c2pa": False}).signed
    assert marks(KEY).parts == ("watermark", "aigc", "c2pa")


@pytest.mark.parametrize(
    ("marking", "tenant", "said"),
    [
        ({"c2pa": True}, {}, "marking.c2pa needs a key"),
        ({"c2pa_key": "key.pem"}, {}, "go together"),
        ({"regions": ["eu"]}, {}, "in eu files must be signed"),
        ({"regions": ["eu"], "c2pa": False, **KEY}, {}, "in eu files must be signed"),
        ({"regions": ["cn"], "label": False}, {}, "in cn the opening label"),
        ({"regions": ["cn"], "aigc": False}, {}, "in cn the opening label"),
        ({}, {"c2pa": True}, "tenants.acme.marking.c2pa needs a key"),
        ({}, {"regions": ["eu"]}, "tenants.acme.marking.regions"),
        ({"regions": ["cn"]}, {"label": False}, "tenants.acme.marking.regions"),
        ({"label_seconds": 1.5}, {}, "label_seconds"),
        ({"watermark_text": "two\nlines"}, {}, "watermark_text"),
        ({"watermark_text": "right \u202e to left"}, {}, "watermark_text"),
        ({"watermark_text": "x" * 65}, {}, "watermark_text"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused_before_anything_starts(marking, tenant, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(overrides={"marking": marking, "tenants": {"acme": {"marking": tenant}}})


def test_a_request_carries_its_marks_and_older_ones_have_none():
    request = ClipRequest(model="m", mode=Mode.T2V, prompt="p", marking=Marking(label="AI", signed=True))
    assert ClipRequest.model_validate_json(request.model_dump_json()) == request
    older = request.model_dump(mode="json")
    del older["marking"]
    assert ClipRequest.model_validate(older).marking == UNMARKED
