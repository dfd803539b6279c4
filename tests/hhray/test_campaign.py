"""Campaigns as pure functions and as the command line shows them: plans, names, keys, state, report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hhray.campaign import expand, read_campaign, safe_name
from hhray.campaign_report import campaign_facts, contact_sheet, markdown_report
from hhray.campaign_run import prepare
from hhray.campaign_state import DONE, FAILED, STATE_FILE, CampaignState, Progress, campaign_folder
from hhray.campaign_verbs import CampaignProgress
from hhray.cli import main
from hhray.client_view import TaskView
from hhray.errors import ClientError, ConfigError, InvalidParameter
from hhray.tasks import TaskState

SCRIPT = {
    "name": "Spring/Sale", "prompt": "a {style} horse", "style": ["calm", "wild"], "ratio": ["16:9", "9:16"],
    "seed": [1, 2], "duration": 3,
}  # fmt: skip


def plan(*scripts, salt="s"):
    return read_campaign("\n".join(json.dumps(script) for script in scripts), salt)


def test_a_script_fans_out_over_the_product_of_its_lists():
    variants = plan(SCRIPT)
    assert len(variants) == 8
    assert variants[0].prompt == "a calm horse"
    assert variants[0].options == {"ratio": "16:9", "seed": 1, "duration": 3}
    assert variants[0].name == "0001-spring-sale-calm-16x9-1"
    assert {(v.chosen["style"], v.chosen["ratio"], v.chosen["seed"]) for v in variants} == {
        (style, ratio, seed) for style in ("calm", "wild") for ratio in ("16:9", "9:16") for seed in (1, 2)
    }
    assert len({v.name for v in variants}) == len({v.key for v in variants}) == 8


def test_keys_are_the_same_in_every_run_and_differ_by_body_and_folder():
    first, again, other = plan(SCRIPT), plan(SCRIPT), plan(SCRIPT, salt="t")
    assert [v.key for v in first] == [v.key for v in again]
    assert not {v.key for v in first} & {v.key for v in other}
    assert plan({**SCRIPT, "duration": 4})[0].key != first[0].key
    assert all(len(v.key) <= 128 for v in first)


def test_models_follow_the_media_or_are_fanned_out_too():
    assert plan({"prompt": "x", "image": "https://a.example/1.png"})[0].model == "happyhorse-1.0-i2v"
    assert plan({"prompt": "x", "video": "walk.mp4"})[0].model == "happyhorse-1.0-video-edit"
    models = ["happyhorse-1.0-t2v", "happyhorse-1.1-t2v"]
    assert [v.model for v in plan({"prompt": "x", "model": models, "language": ["German", "French"]})] == [
        models[0], models[0], models[1], models[1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("nonsense", "line 1: expected a JSON object"),
        ("[1]", "line 1: expected a JSON object"),
        ('{"promt": "x"}', "line 1: unknown field 'promt'"),
        ('{"prompt": 5}', "prompt: expected a text"),
        ('{"prompt": "x", "seed": ["1"]}', "seed: expected integers"),
        ('{"prompt": "x", "seed": [true]}', "seed: expected integers"),
        ('{"prompt": "x", "ratio": []}', "ratio: expected texts"),
        ('{"prompt": "x", "ratio": ["1:1", "1:1"]}', "the same value twice"),
        ('{"prompt": "x", "style": "calm"}', "style and a prompt with {style} go together"),
        ('{"prompt": "{style}"}', "style and a prompt with {style} go together"),
        ('{"prompt": "x", "references": "a.png"}', "references: expected a list"),
        ('{"prompt": "x", "image": 5}', "image, video: expected"),
        (f'{{"prompt": "x", "seed": {list(range(1000))}, "duration": {list(range(11))}}}', "11000 clips"),
        ("# only a comment\n\n", "no script"),
    ],
)
def test_a_line_that_is_no_script_is_refused_with_its_number(line, part):
    with pytest.raises(InvalidParameter) as caught:
        read_campaign(line, "s")
    assert part in caught.value.message


@given(number=st.integers(1, 10_000), title=st.text(max_size=300), choices=st.lists(st.text(max_size=80), max_size=6))
def test_names_are_safe_whatever_the_script_says(number, title, choices):
    name = safe_name(number, title, choices)
    assert name == Path(name).name
    assert name.isascii()
    assert name.startswith(f"{number:04d}")
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(name) < 200


def test_the_state_is_read_as_it_was_written_and_another_file_is_refused(tmp_path):
    state = CampaignState.open(tmp_path)
    state.variants["a"] = Progress(DONE, "k", "t-1", "a.mp4", 1.5)
    state.write()
    assert CampaignState.open(tmp_path) == state
    for text in ("{", "[]", "{}", '{"salt": "s", "variants": {"a": {"colour": "red"}}}'):
        (tmp_path / STATE_FILE).write_text(text)
        with pytest.raises(ConfigError, match="no state of a campaign"):
            CampaignState.open(tmp_path)


def test_a_folder_has_one_campaign_at_a_time(tmp_path):
    with campaign_folder(tmp_path), pytest.raises(ConfigError, match="another hhray batch"), campaign_folder(tmp_path):
        pass
    with campaign_folder(tmp_path):
        pass


def test_a_clip_that_is_gone_is_brought_again_and_another_script_is_refused(tmp_path):
    state, variants = CampaignState.open(tmp_path), plan({"prompt": "x", "seed": [1, 2]})
    prepare(state, variants)
    (tmp_path / "kept.mp4").write_bytes(b"clip")
    state.variants[variants[0].name] = Progress(DONE, variants[0].key, "t-1", "kept.mp4")
    state.variants[variants[1].name] = Progress(DONE, variants[1].key, "t-2", "gone.mp4")
    state.variants["0009-old"] = Progress(DONE, "k", "t-9", "old.mp4")
    assert prepare(state, variants) == ["0009-old"]
    assert [state.variants[v.name].status for v in variants] == [DONE, "waiting"]
    assert state.variants[variants[1].name].task_id == "t-2"
    state.variants[variants[0].name].key = "another"
    with pytest.raises(ClientError, match="another script"):
        prepare(state, variants)


def test_the_report_cannot_be_broken_by_what_a_script_or_a_server_says(tmp_path):
    state = CampaignState.open(tmp_path)
    variants = list(expand({"prompt": "<script>|x", "ratio": "1:1"}, "s", 0))
    state.variants[variants[0].name] = Progress(FAILED, error="<b>|no\nclip")
    facts = campaign_facts(variants, state)
    row = markdown_report(facts).splitlines()[-1]
    assert row.count(" | ") == 4
    assert "<b>" not in row
    state.variants[variants[0].name] = Progress(DONE, file="a.mp4")
    page = contact_sheet(campaign_facts(variants, state))
    assert "<script>" not in page
    assert 'src="a.mp4"' in page


def test_a_dry_run_prints_the_plan_and_asks_nobody(tmp_path, capsys):
    (tmp_path / "c.jsonl").write_text(json.dumps(SCRIPT), encoding="utf-8")
    arguments = ["batch", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "out"), "--url", "http://127.0.0.1:1"]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 8
    assert main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "8 clips"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--at-once", "0"], []])
def test_a_batch_that_cannot_be_begun_is_exit_code_2(tmp_path, capsys, arguments):
    script = {"prompt": "x", "video": str(tmp_path / "nowhere.mp4")}
    (tmp_path / "c.jsonl").write_text(json.dumps(script), encoding="utf-8")
    assert main(["batch", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "expected 1 or more" in (err := capsys.readouterr().err) or "nowhere.mp4: no such file" in err


def test_the_view_of_a_campaign_is_one_bar_on_a_terminal_and_a_line_a_clip_without(tmp_path):
    for terminal in (True, False):
        state, variants, out = CampaignState.open(tmp_path), plan({"prompt": "x", "seed": [1, 2]}), io.StringIO()
        prepare(state, variants)
        first, second = (state.variants[v.name] for v in variants)
        with CampaignProgress(variants, state, Console(file=out, force_terminal=terminal, width=120)) as view:
            view.update(variants[0].name, first, TaskView("t-1", TaskState.RUNNING, 0.5))
            first.status, first.seconds = DONE, 1.25
            view.update(variants[0].name, first, None)
            second.status, second.error = FAILED, "no\x1b[2J clip"
            view.update(variants[1].name, second, None)
        if terminal:
            assert "1 done, 1 failed, 0 under way" in out.getvalue()
        else:
            names = [v.name for v in variants]
            assert out.getvalue().splitlines() == [f"{names[0]}: done in 1.2 s", f"{names[1]}: failed no [2J clip"]
