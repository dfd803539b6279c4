"""The text the model reads: bound references, dialogue and background paragraphs, the operator's rewriter."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hhray.errors import ConfigError, InvalidParameter
from hhray.prompting import (
    bind_references,
    bound_prompt,
    load_rewriter,
    model_prompt,
    model_text,
    rewritten,
)
from hhray.request import ClipRequest, Language, Media, MediaType, Mode

REFERENCE = Media(type=MediaType.REFERENCE_IMAGE, url="https://pictures.example/1.png")
VIDEO = Media(type=MediaType.VIDEO, url="https://pictures.example/1.mp4")

SPELLINGS = ("[Image {}]", "[Image{}]", "[ image  {} ]", "[IMAGE\t0{}]", "character{}", "CHARACTER{}", "Character00{}")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_becomes_the_documented_one(spelling):
    text = f"a dog, {spelling.format(2)}, runs with {spelling.format(1)}."
    assert bind_references(text, 2) == "a dog, [Image 2], runs with [Image 1]."


@pytest.mark.parametrize(
    "text",
    [
        "characters1",
        "mycharacter1",
        "character1x",
        "character_1",
        "character 1",
        "[Image]",
        "[Images 1]",
        "Image 1",
        "[1]",
    ],
)
def test_words_that_only_look_alike_are_left_alone(text):
    assert bind_references(text, 0) == text


def test_a_token_ends_where_chinese_begins():
    assert bind_references("让character1在[Image2]旁跑", 2) == "让[Image 1]在[Image 2]旁跑"


@pytest.mark.parametrize(
    ("text", "count", "named"),
    [
        ("[Image 4] runs", 3, "[Image 4] names no picture; expected a number from 1 to 3"),
        ("[image0] runs", 3, "[Image 0] names no picture; expected a number from 1 to 3"),
        ("character10 runs", 9, "character10 names no picture; expected a number from 1 to 9"),
        ("[Image 1] runs", 0, "[Image 1] names a reference image, but there is none"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(text, count, named):
    with pytest.raises(InvalidParameter) as caught:
        bind_references(text, count)
    assert named in caught.value.message
    assert caught.value.message.startswith("input.prompt: ")


PIECES = st.one_of(
    st.tuples(st.sampled_from(SPELLINGS), st.integers(1, 9)).map(lambda pair: pair[0].format(pair[1])),
    st.text("[]image character019 \n马_", max_size=12),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=8).map(" ".join))
def test_a_bound_prompt_is_bound_for_good_or_refused(text):
    try:
        bound = bind_references(text, 9)
    except InvalidParameter:  # another number than 1 to 9
        assert re.search(r"(image\s*|character)([0-9]{2}|0)", text, re.IGNORECASE)
        return
    assert bind_references(bound, 9) == bound
    assert not re.search(r"\[image[0-9]", bound.lower())


@given(st.lists(st.tuples(st.sampled_from(SPELLINGS), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_numbers_keep_their_order(tokens):
    text = " and ".join(spelling.format(number) for spelling, number in tokens)
    assert bind_references(text, 9) == " and ".join(f"[Image {number}]" for _, number in tokens)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "[Image " + "9" * 20_000,
        "[ " * 10_000,
        "[" + " " * 20_000 + "image",
        "[Image 1" + " " * 20_000,
        "[image" * 3_400,
        "character" * 2_300,
        "\n" + " \t" * 10_000,
        "background " + " " * 20_000,
        "dialogue" + " " * 20_000,
    ],
    ids=lambda text: text[:8].strip() or "blank",
)
def test_a_long_hostile_prompt_takes_no_time(text):
    began = time.process_time()
    assert bind_references(text, 9) == text
    assert model_prompt(text, Language.GERMAN, text).endswith("Background Sound:\nThe natural sound of the scene.")
    assert time.process_time() - began < 0.25


def test_a_number_of_twenty_thousand_digits_is_refused_in_a_short_sentence():
    with pytest.raises(InvalidParameter) as caught:
        bind_references("[Image " + "9" * 20_000 + "]", 9)
    assert len(caught.value.message) < 200


@given(st.text())
def test_a_prompt_without_language_and_dialogue_is_not_touched(prompt):
    assert model_prompt(prompt, None, "") == prompt
    assert model_prompt(prompt, None, " \n") == prompt


SOUND = "Background Sound:\nThe natural sound of the scene."


@pytest.mark.parametrize(
    ("prompt", "language", "dialogue", "expected"),
    [
        (
            "A man.\n",
            Language.MANDARIN,
            "你好",
            f'A man.\n\nDialogue:\nThe speaker says in Mandarin: "你好"\n\n{SOUND}',
        ),
        ("A man.", None, "Hi.\nBye.", f'A man.\n\nDialogue:\nThe speaker says: "Hi. Bye."\n\n{SOUND}'),
        ("A man.", Language.FRENCH, "", f"A man.\n\nDialogue:\nAny speech is in French.\n\n{SOUND}"),
        ("", Language.KOREAN, "", f"Dialogue:\nAny speech is in Korean.\n\n{SOUND}"),
        ('A man.\ndialogue: "Ho"', Language.FRENCH, "Hi", f'A man.\ndialogue: "Ho"\n\n{SOUND}'),
        (
            "A man.\n\nBACKGROUND SOUND: rain",
            Language.GERMAN,
            "Hallo",
            'A man.\n\nDialogue:\nThe speaker says in German: "Hallo"\n\nBACKGROUND SOUND: rain',
        ),
        (
            "A man.\nDialogue: x\nBackground Sound: y",
            Language.GERMAN,
            "z",
            "A man.\nDialogue: x\n\nBackground Sound: y",
        ),
        ("The dialogue: a man.", None, "Hi", f'The dialogue: a man.\n\nDialogue:\nThe speaker says: "Hi"\n\n{SOUND}'),
    ],
)
def test_paragraphs_are_added_where_the_client_wrote_none(prompt, language, dialogue, expected):
    assert model_prompt(prompt, language, dialogue) == expected


def request(mode, *media, **fields):
    return ClipRequest(model="m", mode=mode, media=media, **({"prompt": "character1 waves"} | fields))


def test_only_modes_with_references_bind_them():
    assert bound_prompt(request(Mode.T2V)) == "character1 waves"
    assert bound_prompt(request(Mode.I2V, Media(type=MediaType.FIRST_FRAME))) == "character1 waves"
    assert bound_prompt(request(Mode.R2V, REFERENCE)) == "[Image 1] waves"
    assert bound_prompt(request(Mode.VIDEO_EDIT, VIDEO, REFERENCE)) == "[Image 1] waves"
    with pytest.raises(InvalidParameter, match="there is none"):  # the video has no number
        bound_prompt(request(Mode.VIDEO_EDIT, VIDEO))


def test_the_models_text_is_bound_then_rewritten_then_has_its_paragraphs():
    asked = request(Mode.R2V, REFERENCE, language=Language.ENGLISH, dialogue="Hello")
    text = model_text(asked, lambda prompt: f"In the rain, {prompt}.")
    assert text == f'In the rain, [Image 1] waves.\n\nDialogue:\nThe speaker says in English: "Hello"\n\n{SOUND}'
    assert asked.prompt == "character1 waves"
    assert model_text(request(Mode.T2V)) == "character1 waves"


@pytest.mark.parametrize("rewriter", [lambda prompt: 1 / 0, lambda prompt: "", lambda prompt: " ", lambda prompt: 7])
def test_a_rewriter_that_fails_leaves_the_prompt_and_a_warning(rewriter, caplog):
    assert rewritten("a horse", rewriter) == "a horse"
    assert "the prompt is used as it is" in caplog.text
    assert "a horse" not in caplog.text


def test_a_rewriter_is_loaded_by_name_and_off_by_default():
    assert load_rewriter("") is None
    rewriter = load_rewriter("textwrap:dedent")
    assert rewriter is not None
    assert rewriter("  a horse") == "a horse"


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("textwrap", "expected package.module:function"),
        (":dedent", "expected package.module:function"),
        ("no_such_package.module:f", "cannot import 'no_such_package.module:f': ModuleNotFoundError"),
        ("textwrap:no_such_function", "cannot import"),
        ("string:digits", "cannot be called"),
        ("a module that raises", "boom"),
    ],
)
def test_a_rewriter_that_cannot_be_had_is_a_config_error(spec, part, tmp_path, monkeypatch):
    if spec == "a module that raises":
        (tmp_path / "raising_rewriter.py").write_text("raise RuntimeError('boom')")
        monkeypatch.syspath_prepend(tmp_path)
        spec = "raising_rewriter:rewrite"
    with pytest.raises(ConfigError, match=r"engine\.prompt_rewriter: ") as caught:
        load_rewriter(spec)
    assert part in caught.value.message
