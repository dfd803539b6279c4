"""The client's verbs through the command line's own entry, against a real HTTP server."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

import hhray
from hhray.cli import find_verbs, main
from hhray.client import CREATE_PATH
from hhray.client_view import TaskView
from hhray.console import ClipProgress, printable, stage_table
from hhray.errors import ServerUnreachable
from hhray.tasks import TaskState

TASK = "/api/v1/tasks/t-1"
STAGES = {"queue_wait": 0.25, "text": 0.125, "denoise": 2.0, "decode": 0.5, "mux": 0.25, "publish": 0.125}


@pytest.fixture
def run(server, capsys, monkeypatch):
    """Runs `hhray ARGS --url SERVER`; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("HHRAY_CLIENT__URL", server.url)

    def call(*argv: str):
        code = main(list(argv))
        return code, *capsys.readouterr()

    return call


def last_json(out: str):
    return json.loads(out.splitlines()[-1])


def test_the_verbs_are_found_by_entry_points_and_sorted():
    names = list(find_verbs())
    assert names == sorted(names)
    assert {"submit", "wait", "get", "cancel", "list"} <= set(names), "install the project: pip install -e ."


def test_submit_prints_the_task_id(server, run, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    assert run("submit", "--prompt", "a horse", "--resolution", "256P", "--ratio", "1:1", "--duration", "3") == (
        0,
        "t-1\n",
        "",
    )
    body = server.received[0].json
    assert body["model"] == "happyhorse-1.0-t2v"
    assert body["parameters"] == {"resolution": "256P", "ratio": "1:1", "duration": 3}


def test_submit_as_json_is_one_object(server, run, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    code, out, _ = run("submit", "--prompt", "a horse", "--json")
    assert (code, json.loads(out)) == (0, {"task_id": "t-1"})


def test_submit_with_out_waits_and_brings_the_clip(server, run, answer, task_answer, tmp_path):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    done = task_answer("SUCCEEDED", video_url=f"{server.url}/c.mp4", stages=STAGES, progress=1.0)
    server.on("GET", TASK, task_answer("RUNNING", progress=0.5), done)
    server.on("GET", "/c.mp4", answer(b"clip"))
    code, out, err = run("submit", "--prompt", "a horse", "--out", str(tmp_path / "clip.mp4"), "--json")
    result = last_json(out)
    assert (code, result["clip"], result["stages"]) == (0, str(tmp_path / "clip.mp4"), STAGES)
    assert (tmp_path / "clip.mp4").read_bytes() == b"clip"
    assert err.splitlines() == ["RUNNING", "SUCCEEDED"]


def test_wait_without_out_prints_the_link_last(server, run, task_answer):
    server.on("GET", TASK, task_answer("SUCCEEDED", video_url=f"{server.url}/c.mp4?a=1", stages=STAGES, notice="small"))
    code, out, _ = run("wait", "t-1")
    assert code == 0
    assert out.splitlines()[-1] == f"{server.url}/c.mp4?a=1"
    assert "denoise" in out
    assert "small" in out


def test_a_failed_task_is_one_line_on_stderr_and_exit_code_1(server, run, task_answer):
    server.on("GET", TASK, task_answer("FAILED", code="InputDownloadFailed", message="no picture\nthere"))
    code, out, err = run("wait", "t-1", "--json")
    assert code == 1
    assert err.splitlines()[-1] == "hhray: task t-1 ended FAILED: InputDownloadFailed: no picture there"
    assert last_json(out)["error"]["code"] == "InputDownloadFailed"


def test_a_refused_request_is_exit_code_2(server, run, answer):
    server.on("POST", f"{TASK}/cancel", answer({"code": "UnsupportedOperation", "message": "it runs"}, 400))
    assert run("cancel", "t-1") == (2, "", "hhray: it runs\n")
    code, out, _ = run("cancel", "t-1", "--json")
    assert (code, last_json(out)) == (2, {"error": {"code": "UnsupportedOperation", "message": "it runs"}})


def test_cancel_running_asks_for_it(server, run, answer):
    server.on("POST", f"{TASK}/cancel", answer({"request_id": "r"}))
    assert run("cancel", "t-1", "--running")[0] == 0
    assert server.received[0].query == {"running": "true"}


def test_a_picture_that_is_none_is_exit_code_2(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"text")
    code, _, err = run("submit", "--image", str(tmp_path / "x.png"))
    assert code == 2
    assert "no picture" in err


def test_submit_takes_references_a_video_and_what_is_spoken(server, run, task_answer):
    server.on("POST", CREATE_PATH, task_answer("PENDING"))
    url = "https://a.example/"
    media = ("--reference", f"{url}1.png", "--reference", f"{url}2.png")
    assert run("submit", "--prompt", "[Image 2]", *media, "--language", "french", "--dialogue", "Oui")[0] == 0
    assert (
        run(
            "submit",
            "--prompt",
            "x",
            "--video",
            f"{url}1.mp4",
            "--audio-setting",
            "origin",
            "--strict",
            "--deadline",
            "60",
        )[0]
        == 0
    )
    first, second = (received.json for received in server.received)
    assert first["model"] == "happyhorse-1.0-r2v"
    assert [item["url"] for item in first["input"]["media"]] == [f"{url}1.png", f"{url}2.png"]
    assert (first["parameters"], first["input"]["dialogue"]) == ({"language": "French"}, "Oui")
    assert (second["model"], second["input"]["media"][0]["type"]) == ("happyhorse-1.0-video-edit", "video")
    assert second["parameters"] == {"audio_setting": "origin", "strict_capabilities": True, "deadline_seconds": 60}


def test_a_language_that_is_none_ends_the_argparse_way(server, run, capsys):
    with pytest.raises(SystemExit) as caught:
        run("submit", "--prompt", "x", "--language", "Latin")
    assert caught.value.code == 2
    assert "expected one of English, Mandarin, Cantonese" in capsys.readouterr().err
    assert not server.received


def test_nobody_at_the_url_is_exit_code_1(run):
    code, _, err = run("get", "t-1", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert err.startswith("hhray: no answer from http://127.0.0.1:1")


def test_a_url_that_is_none_is_exit_code_2(run):
    assert run("get", "t-1", "--url", "nonsense")[0] == 2


def test_get_shows_a_task_and_its_stages(server, run, task_answer):
    server.on("GET", TASK, task_answer("SUCCEEDED", stages=STAGES, notice="small"))
    code, out, _ = run("get", "t-1")
    assert code == 0
    assert "SUCCEEDED" in out
    assert "service time" in out


def test_get_as_json_has_the_wire_facts(server, run, task_answer):
    server.on("GET", TASK, task_answer("PENDING", queue_position=3))
    facts = last_json(run("get", "t-1", "--json")[1])
    assert (facts["state"], facts["queue_position"], facts["progress"]) == ("PENDING", 3, 0.0)


def test_list_shows_whole_ids_without_a_terminal(server, run, answer):
    task_id = "0b9c2f0e-95a1-4f7a-8f64-1d7a5f9a3c11"
    row = {"task_id": task_id, "status": "SUCCEEDED", "model_name": "happyhorse-1.0-t2v", "gmt_create": 0}
    row["end_time"] = 2500
    server.on("GET", "/api/v1/tasks", answer({"total": 1, "total_page": 1, "page_no": 1, "data": [row]}))
    code, out, _ = run("list", "--status", "SUCCEEDED", "--model", "happyhorse-1.0-t2v", "--page-size", "5")
    assert code == 0
    assert task_id in out
    assert "1970-01-01 00:00:00 UTC" in out
    assert "2.5" in out
    assert server.received[0].query == {
        "status": "SUCCEEDED", "model_name": "happyhorse-1.0-t2v", "page_no": "1", "page_size": "5",
    }  # fmt: skip
    tasks = last_json(run("list", "--json")[1])["tasks"]
    assert [(task["task_id"], task["submitted_at"], task["ended_at"]) for task in tasks] == [(task_id, 0.0, 2.5)]


def test_the_key_comes_from_the_setting_or_the_option_and_is_never_printed(server, run, task_answer, monkeypatch):
    monkeypatch.setenv("HHRAY_CLIENT__API_KEY", "hh-from-settings")
    server.on("GET", TASK, task_answer("PENDING"))
    for option, expected in (([], "hh-from-settings"), (["--api-key", "hh-from-option"], "hh-from-option")):
        _, out, err = run("get", "t-1", *option)
        assert server.received[-1].headers["authorization"] == f"Bearer {expected}"
        assert expected not in out + err


def test_an_interrupt_is_exit_code_130(server, run, task_answer, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    server.on("GET", TASK, task_answer("RUNNING"))
    monkeypatch.setattr("time.sleep", interrupt)
    assert run("wait", "t-1")[0] == 130


def test_version_and_unknown_verbs_end_the_argparse_way(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"hhray {hhray.__version__}\n"
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["dance"])
    with pytest.raises(SystemExit, match=r"^2$"):
        main([])


def test_text_of_a_server_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\r\nc\u202e") == "a [2Jb  c "


def test_the_stage_table_is_in_running_order_with_the_service_time_last():
    out = io.StringIO()
    Console(file=out, width=60).print(stage_table(dict(reversed(STAGES.items()))))
    words = [line.split() for line in out.getvalue().splitlines()]
    cells = [[word for word in line if word not in "│┃|"] for line in words]
    rows = [line for line in cells if line and line[0][0].isalpha()]
    assert rows[0] == ["stage", "seconds"]
    assert [row[0] for row in rows[1:7]] == list(STAGES)
    assert rows[7] == ["service", "time", "3.000"]


def test_the_bar_moves_with_progress_on_a_terminal():
    out = io.StringIO()
    with ClipProgress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress.update(TaskView("t-1", TaskState.PENDING, queue_position=2))
        progress.update(TaskView("t-1", TaskState.RUNNING, progress=0.25, attempt=2))
        progress._bar.refresh()
        progress.update(
            TaskView("t-1", TaskState.RUNNING, 0.5, stage="denoise", eta_seconds=7.6, eta_error_seconds=2.2)
        )
        progress._bar.refresh()
        progress.update(TaskView("t-1", TaskState.SUCCEEDED, progress=1.0))
    assert "25 %" in out.getvalue()
    assert "RUNNING, attempt 2" in out.getvalue()
    assert "RUNNING, denoise" in out.getvalue()
    assert "about 8 s ± 2 s to go" in out.getvalue()
    assert "100 %" in out.getvalue()


def test_without_a_terminal_each_change_is_one_line():
    out = io.StringIO()
    with ClipProgress(Console(file=out, force_terminal=False, width=40)) as progress:
        progress.update(TaskView("t-1", TaskState.PENDING, queue_position=2))
        progress.trouble(ServerUnreachable("no answer from [bold]there[/bold]"))
        for fraction in (0.1, 0.2, 0.3):
            progress.update(TaskView("t-1", TaskState.RUNNING, progress=fraction))
    assert out.getvalue().splitlines() == [
        "PENDING, 2 ahead",
        "trying again: no answer from [bold]there[/bold]",
        "RUNNING",
    ]
