"""Quotas over HTTP, the rules a tenant is given, and the verbs that read what is kept."""

from __future__ import annotations

import json

import pytest

from hhray.cli import main

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}, "parameters": {"duration": 3}}


def test_a_tenant_nobody_names_has_the_default_and_429_says_when(serve_with):
    with serve_with(default_tenant={"creates_per_second": 0.01, "create_burst": 2}) as live:
        assert [live.create(T2V).status_code for _ in range(2)] == [200, 200]
        answer = live.create(T2V)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.RateQuota")
        assert 95 <= int(answer.headers["retry-after"]) <= 100
        assert live.store.depth().queued == 2


def test_a_named_tenant_has_its_own_quota_and_a_long_wait_is_said(serve_with):
    with serve_with(tenants={"local": {"video_seconds_per_month": 4}}) as live:
        live.create_id(T2V)
        answer = live.create(T2V)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.AllocationQuota")
        assert 0 < int(answer.headers["retry-after"]) <= 31 * 86400
        assert "leaves 1, less than this clip takes" in answer.json()["message"]
        quotas = live.client.get("/api/v1/quotas").json()["data"]
        assert quotas["video_seconds_per_month"]["used"] == 3
        assert quotas["video_seconds_per_month"]["limit"] == 4
        assert quotas["gpu_seconds_per_day"]["limit"] is None
        too_long = live.create(T2V | {"parameters": {"duration": 5}})
        assert (too_long.status_code, too_long.json()["code"]) == (400, "InvalidParameter")


def test_a_prompt_that_is_not_kept_is_gone_from_the_answer_too(serve_with):
    with serve_with(default_tenant={"keep_prompts": False}) as live:
        task_id = live.create_id(T2V)
        live.finish(task_id)
        assert not live.get(task_id)["output"].get("orig_prompt")


def test_prompts_are_in_the_audit_log_as_keyed_hashes_only(serve_with):
    with serve_with() as live:
        first, second = live.create_id(T2V), live.create_id(T2V)
        other = live.create_id(T2V | {"input": {"prompt": "y"}})
        hashes = {row.task_id: row.prompt_hash for row in live.store.audit(None, 0.0, 0, 10)}
    assert hashes[first] == hashes[second] != hashes[other]
    assert {len(one) for one in hashes.values()} == {64}


def test_a_bad_day_is_refused(live):
    answer = live.client.get("/api/v1/usage?from=yesterday")
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "YYYY-MM-DD" in answer.json()["message"]


@pytest.fixture
def home(serve_with, tmp_path):
    """The data directory of a server that made two clips."""
    with serve_with() as live:
        for _ in range(2):
            live.finish(live.create_id(T2V))
        live.create_id(T2V)
    return ("--data-dir", str(tmp_path))


def test_usage_as_json_csv_and_table(home, capsys):
    assert main(["usage", "--json", *home]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["tenant"], row["clips"], row["video_seconds"]) == ("local", 2, 6.0)
    assert main(["usage", "--csv", *home]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.startswith("tenant,day,model,resolution,mode,clips")
    assert line.startswith("local,")
    assert main(["usage", *home]) == 0
    assert "happyhorse-1.0-t2v" in capsys.readouterr().out
    assert main(["usage", "--json", "--to", "2020-01-01", "--from", "2020-01-01", *home]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []


def test_an_audit_export_shows_when_a_line_was_cut_or_changed(home, capsys):
    assert main(["audit", "--json", *home]) == 0
    *rows, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["what"] for row in rows] == ["create", "succeeded", "create", "succeeded", "create"]
    assert end == {"rows": 5, "chain": rows[-1]["chain"]}
    assert len({row["chain"] for row in rows}) == 5
    assert main(["audit", "--json", "--drop-older-than", "1d", *home]) == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": 0}
    assert main(["audit", *home]) == 0
    assert "succeeded" in capsys.readouterr().out


def test_forget_removes_files_and_rows_and_keeps_the_bill(home, capsys, tmp_path):
    assert len(list((tmp_path / "artifacts" / "clips").iterdir())) == 2
    assert main(["forget", "--tenant", "local", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out) == {"tenant": "local", "tasks_removed": 3, "complete": True}
    assert list((tmp_path / "artifacts" / "clips").iterdir()) == []
    assert main(["usage", "--json", *home]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["clips"], row["cancels"]) == (2, 1)
