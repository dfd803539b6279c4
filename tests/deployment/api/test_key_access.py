"""Keys: who may call, what a tenant sees, how the file and the secret are kept."""

from __future__ import annotations

import http.client
import json
import logging
import stat
import threading

import httpx
import pytest

from deployment.keys import KeyRing, check_binding, create_key, server_secret
from hhray.errors import ConfigError, InvalidApiKey
from hhray.settings import Settings

SECRET = b"a server secret of the tests"
T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}, "parameters": {"duration": 3}}


def test_an_open_server_does_not_answer_under_another_name(live):
    for host in ("evil.example", "evil.example:80", "192.168.1.7"):
        answer = httpx.get(f"{live.url}/api/v1/tasks", headers={"host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    for host in ("localhost", "127.0.0.1:9", "[::1]:8000"):
        assert httpx.get(f"{live.url}/api/v1/tasks", headers={"host": host}).status_code == 200


@pytest.fixture
def keyed(make_settings, serve_with):
    """A server with keys of two tenants, and those keys."""
    settings = make_settings()
    secret = server_secret(settings)
    keys = {
        "acme": create_key(settings.keys_file, secret, "acme", False),
        "acme admin": create_key(settings.keys_file, secret, "acme", True),
        "other": create_key(settings.keys_file, secret, "other", False),
    }
    with serve_with() as live:
        yield live, keys


def test_without_a_key_file_any_bearer_or_none_is_the_local_administrator(tmp_path):
    ring = KeyRing(tmp_path / "keys.json", SECRET)
    for header in (None, "", "Bearer x", "Basic eDp5"):
        caller = ring.authenticate(header)
        assert (caller.tenant, caller.admin) == ("local", True)


def test_a_missing_or_wrong_key_is_401_on_every_route_that_needs_one(keyed):
    live, keys = keyed
    task_id = "00000000-0000-4000-8000-000000000000"
    for header in ({}, {"authorization": "Bearer hh-wrong"}, {"authorization": keys["acme"]}):
        for method, path in (
            ("POST", "/api/v1/services/aigc/video-generation/video-synthesis"),
            ("GET", f"/api/v1/tasks/{task_id}"),
            ("POST", f"/api/v1/tasks/{task_id}/cancel"),
            ("GET", "/api/v1/tasks"),
        ):
            answer = live.client.request(method, path, headers=header | {"x-dashscope-async": "enable"})
            assert (answer.status_code, answer.json()["code"]) == (401, "InvalidApiKey"), (method, path)
    assert live.client.get("/healthz").status_code == 200
    assert live.client.get("/metrics").status_code == 200


def test_a_wrong_key_gets_its_answer_also_with_a_large_body(keyed):
    live, _ = keyed
    # A plain client, as most are: it writes the whole body before it looks for an answer.
    connection = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=20)
    path = "/api/v1/services/aigc/video-generation/video-synthesis"
    headers = {"authorization": "Bearer hh-wrong", "connection": "close"}
    connection.request("POST", path, body=b"x" * 20_000_000, headers=headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (401, "InvalidApiKey")
    connection.close()


def test_tasks_of_one_tenant_are_invisible_to_another(keyed):
    live, keys = keyed
    task_id = live.create_id(T2V, key=keys["acme"])
    mine, theirs = keys["acme admin"], keys["other"]
    assert live.get(task_id, mine)["output"]["task_status"] == "PENDING"
    assert live.get(task_id, theirs)["output"] == {"task_id": task_id, "task_status": "UNKNOWN"}

    def listed(key):
        return live.client.get("/api/v1/tasks", headers={"authorization": f"Bearer {key}"}).json()["total"]

    def cancelled(key):
        path = f"/api/v1/tasks/{task_id}/cancel"
        return live.client.post(path, headers={"authorization": f"Bearer {key}"}).status_code

    assert (listed(mine), listed(theirs)) == (1, 0)
    assert cancelled(theirs) == 400
    assert live.get(task_id, mine)["output"]["task_status"] == "PENDING"
    assert cancelled(mine) == 200


def test_an_idempotency_key_belongs_to_its_tenant(keyed):
    live, keys = keyed
    first = live.create_id(T2V, key=keys["acme"], idempotency_key="order-1")
    assert live.create_id(T2V, key=keys["acme admin"], idempotency_key="order-1") == first
    assert live.create_id(T2V, key=keys["other"], idempotency_key="order-1") != first


def test_only_an_administrator_stops_a_running_task(keyed):
    live, keys = keyed
    task_id = live.create_id(T2V, key=keys["acme"])
    live.store.claim([task_id], "engine", 60.0)

    def stop(key):
        path = f"/api/v1/tasks/{task_id}/cancel?running=true"
        return live.client.post(path, headers={"authorization": f"Bearer {key}"})

    refused = stop(keys["acme"])
    assert (refused.status_code, refused.json()["code"]) == (403, "AccessDenied")
    assert "administrator" in refused.json()["message"]
    assert stop(keys["acme admin"]).status_code == 200
    assert live.store.get(task_id).cancel_requested


def test_the_file_keeps_no_key_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "conf" / "keys.json"
    key = create_key(path, SECRET, "acme", True)
    assert key.startswith("hh-")
    assert len(key) >= 46
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    plain = {"id", "tenant", "admin", "hash", "prefixed", "scopes", "made_at", "expires_at", "revoked_at"}
    assert set(json.loads(path.read_text())[0]) == plain
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")] == []


def test_a_key_is_worth_nothing_under_another_secret(tmp_path):
    key = create_key(tmp_path / "keys.json", SECRET, "acme", False)
    assert KeyRing(tmp_path / "keys.json", SECRET).authenticate(f"bearer  {key} ").tenant == "acme"
    with pytest.raises(InvalidApiKey):
        KeyRing(tmp_path / "keys.json", SECRET + b"!").authenticate(f"Bearer {key}")


def test_keys_made_at_the_same_time_are_all_kept(tmp_path):
    path, keys = tmp_path / "keys.json", []
    threads = [
        threading.Thread(target=lambda n=n: keys.append(create_key(path, SECRET, f"tenant{n}", False)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ring = KeyRing(path, SECRET)
    assert {ring.authenticate(f"Bearer {key}").tenant for key in keys} == {f"tenant{n}" for n in range(8)}


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path, caplog):
    path = tmp_path / "keys.json"
    ring = KeyRing(path, SECRET)
    assert ring.authenticate(None).tenant == "local"
    first = create_key(path, SECRET, "acme", False)
    with pytest.raises(InvalidApiKey):
        ring.authenticate(None)
    second = create_key(path, SECRET, "other", False)
    assert ring.authenticate(f"Bearer {second}").tenant == "other"
    with caplog.at_level(logging.ERROR):
        path.write_text("[{")
        assert ring.authenticate(f"Bearer {first}").tenant == "acme"
    assert "last ones stay in force" in caplog.text
    path.unlink()
    with pytest.raises(InvalidApiKey):
        ring.authenticate(None)
    assert ring.authenticate(f"Bearer {first}").tenant == "acme"
    path.write_text("[]")
    with pytest.raises(InvalidApiKey):
        ring.authenticate(f"Bearer {first}")


def test_a_broken_file_that_appears_closes_an_open_server(tmp_path):
    ring = KeyRing(tmp_path / "keys.json", SECRET)
    (tmp_path / "keys.json").write_text("not json")
    with pytest.raises(InvalidApiKey):
        ring.authenticate("Bearer x")


@pytest.mark.parametrize("text", ["", "{}", '[{"id": "a"}]', '[{"id":"a","tenant":"t","admin":false,"hash":"s3cr3t"}]'])
def test_a_file_that_holds_something_else_is_refused_without_repeating_it(tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ConfigError, match="expected a JSON list of keys") as caught:
        KeyRing(tmp_path / "keys.json", SECRET)
    assert "s3cr3t" not in str(caught.value)


def test_the_secret_is_made_once_and_kept_private(tmp_path):
    settings = Settings(data_dir=str(tmp_path / "home"))
    secrets = []
    threads = [threading.Thread(target=lambda: secrets.append(server_secret(settings))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 64
    assert stat.S_IMODE((tmp_path / "home" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]


def test_a_configured_secret_wins_and_a_short_one_is_refused(tmp_path):
    given = Settings(data_dir=str(tmp_path), keys={"secret": "0123456789abcdef"})
    assert server_secret(given) == b"0123456789abcdef"
    assert not (tmp_path / "secret").exists()
    with pytest.raises(ConfigError, match="shorter than 16"):
        server_secret(Settings(data_dir=str(tmp_path), keys={"secret": "short"}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "video.example"])
def test_an_open_server_binds_to_loopback_only(tmp_path, host):
    settings = Settings(data_dir=str(tmp_path), http={"host": host})
    with pytest.raises(ConfigError, match="hhray keys create"):
        check_binding(settings)
    create_key(settings.keys_file, SECRET, "acme", False)
    check_binding(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_keys(tmp_path, host):
    check_binding(Settings(data_dir=str(tmp_path), http={"host": host}))


def test_a_key_file_that_was_named_but_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        check_binding(Settings(data_dir=str(tmp_path), keys={"file": str(tmp_path / "typo.json")}))
