"""The hook: verdicts, failures, time limits; and the list of words."""

from __future__ import annotations

import threading
import time

import pytest

from deployment.moderation import Moderation, Verdict, open_moderation
from deployment.word_list import WordList
from hhray.errors import ConfigError, DataInspectionFailed, ModerationUnavailable
from hhray.moderation_settings import ModerationSettings
from hhray.request import ClipRequest, Mode

SECRET = "zebra-7431"


class Check:
    """Answers what it is told to, or does."""

    def __init__(self, answer):
        self.answer, self.texts = answer, []

    def check_text(self, text):
        self.texts.append(text)
        return self.answer(text) if callable(self.answer) else self.answer

    check_file = check_frames = check_text


def request(prompt=SECRET, dialogue=""):
    return ClipRequest(model="m", mode=Mode.T2V, prompt=prompt, dialogue=dialogue)


def moderation(answer, **settings):
    return Moderation(Check(answer), ModerationSettings(**{"timeout_seconds": 5} | settings))


def boom(text):
    raise ValueError(f"no idea what {text} means")


def test_prompt_and_dialogue_are_both_checked_and_either_may_be_refused():
    hook = moderation(lambda text: Verdict.REFUSED if text == "bad" else Verdict.PASSED)
    hook.check_request(request("good", "fine"))
    with pytest.raises(DataInspectionFailed, match=r"^Input data may contain inappropriate content\.$"):
        hook.check_request(request("good", "bad"))
    with pytest.raises(DataInspectionFailed):
        hook.check_request(request("bad"))
    assert Moderation(None, ModerationSettings()).check_request(request("bad")) is None


@pytest.mark.parametrize("answer", [boom, None, True, "passed "], ids=["raises", "None", "True", "a word"])
@pytest.mark.parametrize("policy", ["refuse", "allow"])
def test_whatever_is_no_verdict_is_a_failure_and_repeats_nothing_of_the_prompt(answer, policy, caplog):
    hook = moderation(answer, on_error=policy)
    if policy == "allow":
        hook.check_request(request())
        assert "allowed, as moderation.on_error says" in caplog.text
    else:
        with pytest.raises(ModerationUnavailable) as caught:
            hook.check_request(request())
        assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


def test_a_check_that_hangs_is_given_up_and_only_so_many_hang_at_once():
    stop, began = threading.Event(), time.monotonic()
    hook = moderation(lambda text: stop.wait(20), timeout_seconds=0.05, threads=2)
    for _ in range(3):
        with pytest.raises(ModerationUnavailable, match=r"did not answer within 0\.05 s"):
            hook.check_request(request())
    assert time.monotonic() - began < 5
    assert sum(thread.name == "moderation" for thread in threading.enumerate()) == 2
    stop.set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"check": "deployment.word_list"}, "expected package.module:Class"),
        ({"check": "deployment.word_list:Nothing"}, "cannot import"),
        ({"check": "pathlib:Path"}, "lacks the methods check_text"),
        ({"check": "deployment.word_list:WordList"}, "cannot be made: TypeError"),
        ({"check": "deployment.word_list:WordList", "options": {"file": "/no/such"}}, "cannot be read"),
        ({"options": {"file": "x"}}, "name one in moderation.check"),
    ],
)
def test_a_check_that_cannot_be_made_is_refused_at_start(settings, said):
    with pytest.raises(ConfigError, match=said):
        open_moderation(ModerationSettings(**settings))


WORDS = "# refused\n\nGrape\nbad  apple\n毒药\nさくら\nStraße\nमल\nท่อ\nC++\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    return WordList(str(path))


@pytest.mark.parametrize(
    "text",
    ["a grape.", "GRAPE", "\uff47\uff52\uff41\uff50\uff45", "gra\u200bpe", "grape's", "马grape马", "a BAD\n\tapple!",
     "卖毒药的人", "毒\u200b药", "夜さくら見", "STRASSE 7", "ein मल।", "น้ำท่อแตก", "in c++ now", "(grape)"],
)  # fmt: skip
def test_a_word_of_the_list_is_found(words, text):
    assert words.check_text(text) is Verdict.REFUSED


@pytest.mark.parametrize(
    "text",
    ["grapes", "grapefruit", "agrape", "grape_", "grape\u0301", "bad crab apple", "apple bad", "毒 药", "मला",
     "straßen", "", "refused", "#"],
)  # fmt: skip
def test_parts_of_other_words_are_not(words, text):
    assert words.check_text(text) is Verdict.PASSED


def test_a_list_without_words_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n \n")
    with pytest.raises(ConfigError, match="holds no word"):
        WordList(str(tmp_path / "empty.txt"))


def test_ten_thousand_words_and_a_long_prompt_take_little_time(tmp_path):
    lines = [f"w{number:05}{letter}" for number in range(5000) for letter in "ab"]
    (tmp_path / "many.txt").write_text("\n".join(lines))
    words, began = WordList(str(tmp_path / "many.txt")), time.process_time()
    assert words.check_text("what we were when " * 250) is Verdict.PASSED
    assert time.process_time() - began < 2
