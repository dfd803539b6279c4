"""Creates of reference-to-video and video-edit, and the additive fields of every mode."""

from __future__ import annotations

import base64
import json
import time

import pytest

from deployment.dialects.dashscope import parse_create
from deployment.store.base import TaskFilter
from hhray.errors import RequestError
from hhray.geometry import Ratio
from hhray.request import MAX_INLINE_BYTES, AudioSetting, Language, MediaType, Mode
from hhray.store_settings import MediaSettings

PICTURE, VIDEO = "https://a.example/1.png", "https://a.example/1.mp4"
R2V, EDIT, T2V, I2V = (f"happyhorse-1.0-{mode}" for mode in ("r2v", "video-edit", "t2v", "i2v"))
HEADERS = {"x-dashscope-async": "enable", "content-type": "application/json"}


def item(kind, url):
    return {"type": kind, "url": url}


def reference(url=PICTURE):
    return item("reference_image", url)


def source(url=VIDEO):
    return item("video", url)


def frame(url=PICTURE):
    return item("first_frame", url)


def body(model, media=None, prompt="a horse", parameters=None, **given):
    media = {} if media is None else {"media": media}
    return {"model": model, "input": {"prompt": prompt} | media | given, "parameters": parameters or {}}


def parsed(*args, **fields):
    return parse_create(json.dumps(body(*args, **fields)).encode(), MediaSettings())


@pytest.mark.parametrize("model", ["happyhorse-1.0-r2v", "happyhorse-1.1-r2v"])
@pytest.mark.parametrize("count", [1, 9])
def test_one_to_nine_references_are_taken_in_their_order(model, count):
    urls = [f"https://a.example/{index}.png" for index in range(count)]
    call = parsed(model, [reference(url) for url in urls], parameters={"ratio": "9:16", "duration": 4})
    clip = call.request
    assert (clip.mode, clip.ratio, clip.duration) == (Mode.R2V, Ratio.R9_16, 4)
    assert [media.url for media in clip.media] == urls
    assert {media.type for media in clip.media} == {MediaType.REFERENCE_IMAGE}
    assert call.files == (None,) * count


def test_a_video_stands_anywhere_among_its_references():
    media = [reference("https://a.example/a.png"), source(), reference("https://a.example/b.png")]
    parameters = {"audio_setting": "origin", "ratio": "nonsense", "duration": "5"}  # neither is taken here: ignored
    clip = parsed(EDIT, media, prompt="character2 waves", parameters=parameters).request
    assert [media.type for media in clip.media] == ["reference_image", "video", "reference_image"]
    assert (clip.mode, clip.audio_setting, clip.ratio, clip.duration) == (
        Mode.VIDEO_EDIT,
        AudioSetting.ORIGIN,
        Ratio.R16_9,
        5,
    )
    assert clip.prompt == "character2 waves"  # the client's own words are kept


def test_pictures_inside_the_request_and_by_url_mix():
    data = "data:image/png;base64,AQID"
    call = parsed(R2V, [reference(data), reference(), reference(data)])
    assert call.files == (b"\x01\x02\x03", None, b"\x01\x02\x03")
    assert [media.url for media in call.request.media] == ["", PICTURE, ""]


def test_other_modes_do_not_look_at_the_audio_setting_or_bind_tokens():
    assert parsed(T2V, parameters={"audio_setting": 7}).request.audio_setting is AudioSetting.AUTO
    assert parsed(T2V, prompt="[Image 3] and character9").request.prompt == "[Image 3] and character9"


@pytest.mark.parametrize("text", ["Cantonese", "cantonese", "CANTONESE"])
def test_language_and_dialogue_arrive(text):
    clip = parsed(T2V, dialogue="食咗飯未呀?", parameters={"language": text}).request
    assert (clip.language, clip.dialogue) == (Language.CANTONESE, "食咗飯未呀?")


def test_a_deterministic_clip_is_one_that_asks_for_it():
    assert not parsed(T2V).request.deterministic
    assert parsed(T2V, parameters={"deterministic": True}).request.deterministic


def test_a_deadline_is_seconds_from_now_and_none_if_nothing_is_said():
    assert parsed(T2V).deadline_seconds == 0
    assert parsed(T2V, parameters={"deadline_seconds": 90}).deadline_seconds == 90


def test_a_null_language_and_dialogue_count_as_absent():
    names = ("language", "strict_capabilities", "audio_setting")
    clip = parsed(EDIT, [source()], dialogue=None, parameters=dict.fromkeys(names)).request
    assert (clip.language, clip.dialogue, clip.strict_capabilities) == (None, "", False)
    assert parsed(T2V, dialogue="x" * 2000).request.dialogue == "x" * 2000


DATA = "data:image/png;base64,AQID"
REFUSED = {
    "r2v without media": (
        body(R2V),
        "InvalidParameter",
        "Field required: input.media. Expected 1 to 9 reference_image",
    ),
    "r2v without a prompt": (body(R2V, [reference()], prompt=None), "InvalidParameter", "Field required: input.prompt"),
    "no reference": (body(R2V, []), "InvalidParameter", "input.media: expected 1 to 9 reference_image"),
    "ten references": (body(R2V, [reference()] * 10), "InvalidParameter", "got 10 items"),
    "media is an object": (body(R2V, {}), "InvalidParameter", "input.media: expected 1 to 9 reference_image"),
    "an item is text": (body(R2V, [reference(), PICTURE]), "InvalidParameter", "input.media[1]: expected an object"),
    "a video for r2v": (
        body(R2V, [reference(), source()]),
        "InvalidParameter",
        'input.media[1].type: expected reference_image for r2v, got "video"',
    ),
    "type is a list": (body(R2V, [item(["x"], PICTURE)]), "InvalidParameter", "input.media[0].type"),
    "no url": (
        body(R2V, [reference(), reference(None)]),
        "InvalidParameter",
        "input.media[1].url: expected the http(s)",
    ),
    "a private url": (body(R2V, [reference(), reference("http://10.0.0.1/")]), "InvalidURL", "input.media[1].url: "),
    "bad data": (
        body(R2V, [reference(DATA), reference("data:image/png;base64,@")]),
        "InvalidParameter",
        "input.media[1].url: expected valid base64",
    ),
    "no video": (
        body(EDIT, [reference()]),
        "InvalidParameter",
        "input.media: expected exactly 1 video and 0 to 5 reference_image",
    ),
    "two videos": (body(EDIT, [source()] * 2), "InvalidParameter", "got 2 video"),
    "six references": (body(EDIT, [reference()] * 6), "InvalidParameter", "got 0 video"),
    "a video and six": (body(EDIT, [source()] + [reference()] * 6), "InvalidParameter", "got 7 items"),
    "a first frame for edit": (
        body(EDIT, [source(), frame()]),
        "InvalidParameter",
        "input.media[1].type: expected video or reference_image",
    ),
    "video as data": (
        body(EDIT, [source("data:video/mp4;base64,AAAA")]),
        "InvalidURL",
        "input.media[0].url: expected the http(s) URL of an MP4 or MOV video; a video is not taken as a data URI",
    ),
    "a large video as data": (
        body(EDIT, [source("data:video/mp4;base64," + "A" * 3_000_000)]),
        "InvalidURL",
        "not taken as a data URI",
    ),
    "audio setting": (
        body(EDIT, [source()], parameters={"audio_setting": "ORIGIN"}),
        "InvalidParameter",
        'parameters.audio_setting: expected one of auto, origin, got "ORIGIN"',
    ),
    "ratio for r2v": (body(R2V, [reference()], parameters={"ratio": "2:1"}), "InvalidParameter", "parameters.ratio"),
    "duration for r2v": (
        body(R2V, [reference()], parameters={"duration": 2}),
        "InvalidParameter",
        "parameters.duration",
    ),
    "480P": (body(EDIT, [source()], parameters={"resolution": "480P"}), "InvalidParameter", "parameters.resolution"),
    "unknown reference": (
        body(R2V, [reference()] * 2, prompt="[image 3] runs"),
        "InvalidParameter",
        "input.prompt: [Image 3] names no picture; expected a number from 1 to 2",
    ),
    "the video has no number": (
        body(EDIT, [source()], prompt="character1 runs"),
        "InvalidParameter",
        "input.prompt: character1 names a reference image, but there is none",
    ),
    "language": (
        body(T2V, parameters={"language": "Latin"}),
        "InvalidParameter",
        'English, Mandarin, Cantonese, Japanese, Korean, German, French, got "Latin"',
    ),
    "language is a list": (body(T2V, parameters={"language": ["English"]}), "InvalidParameter", "parameters.language"),
    "dialogue is a number": (body(T2V, dialogue=3), "InvalidParameter", "input.dialogue: expected a string, got 3"),
    "dialogue with NUL": (body(T2V, dialogue="a\0b"), "InvalidParameter", "input.dialogue: expected text without NUL"),
    "dialogue with half a character": (body(T2V, dialogue="\ud800"), "InvalidParameter", "surrogates"),
    "long dialogue": (body(T2V, dialogue="x" * 2001), "InvalidParameter", "at most 2000 characters, got 2001"),
    "the deadline is past": (
        body(T2V, parameters={"deadline_seconds": 0}),
        "InvalidParameter",
        "parameters.deadline_seconds: expected",
    ),
    "deterministic is a number": (
        body(T2V, parameters={"deterministic": 1}),
        "InvalidParameter",
        "parameters.deterministic: expected true or false",
    ),
    "strict is text": (
        body(T2V, parameters={"strict_capabilities": "true"}),
        "InvalidParameter",
        "parameters.strict_capabilities: expected true or false",
    ),
    "strict r2v": (
        body(R2V, [reference(DATA)], parameters={"strict_capabilities": True}),
        "InvalidParameter",
        "parameters.strict_capabilities: expected a mode the checkpoint was trained for (t2v, i2v, a2v), got r2v",
    ),
    "strict edit": (
        body(EDIT, [source()], parameters={"strict_capabilities": True}),
        "InvalidParameter",
        "This checkpoint was not trained to edit",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_create_of_a_mode_is_refused_and_leaves_nothing(refusing, name):
    asked, code, part = REFUSED[name]
    answer = refusing.client.post(
        "/api/v1/services/aigc/video-generation/video-synthesis", content=json.dumps(asked).encode(), headers=HEADERS
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert part in answer.json()["message"]
    assert len(answer.json()["message"]) < 400
    assert refusing.store.list_tasks(TaskFilter(tenant="local"))[1] == 0
    assert not list(refusing.services.settings.artifact_dir.rglob("*"))


def test_strict_capabilities_pass_where_the_checkpoint_was_trained(live, picture):
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    live.create_id(body(T2V, parameters={"strict_capabilities": True}))
    live.create_id(body(I2V, [frame(url)], parameters={"strict_capabilities": True}))
    live.create_id(body(R2V, [reference(url)], parameters={"strict_capabilities": False}))


def test_pictures_inside_one_request_have_a_limit_together():
    data = "data:image/png;base64," + "A" * 20_000_000
    few = json.dumps(body(R2V, [reference(data)] * 3)).encode()
    many = json.dumps(body(R2V, [reference(data)] * 4)).encode()
    assert len(few) < MAX_INLINE_BYTES < len(many)
    assert [len(file) for file in parse_create(few, MediaSettings()).files] == [15_000_000] * 3
    with pytest.raises(RequestError, match=f"at most {MAX_INLINE_BYTES} bytes of those together"):
        parse_create(many, MediaSettings())


@pytest.mark.parametrize("prompt", ["[Image " * 3000, "[" * 20_000, "[image" + " " * 20_000, "[ " * 10_000])
def test_a_long_hostile_prompt_takes_no_time(prompt):
    began = time.process_time()
    assert parsed(R2V, [reference()], prompt=prompt).request.prompt == prompt[:5000]
    assert time.process_time() - began < 0.25


def test_only_what_the_operator_offers_is_taken(serve_with):
    with serve_with(engine={"tiers": ["256P", "720P"], "max_seconds": 5}) as live:
        for parameters, message in (
            ({}, "parameters.resolution: this server offers 256P, 720P, got 1080P."),
            (
                {"resolution": "256P", "duration": 6},
                "parameters.duration: this server offers clips of at most 5 seconds",
            ),
        ):
            answer = live.create(body(T2V, parameters=parameters))
            assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
            assert message in answer.json()["message"]
        live.create_id(body(T2V, parameters={"resolution": "720P", "duration": 5}))
