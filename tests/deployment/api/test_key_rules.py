"""Keys with ids, scopes and an end; revoked and rotated ones; a check that takes as long for any key; the verbs."""

from __future__ import annotations

import hmac
import json
import time
from contextlib import suppress

import pytest

import deployment.keys
from deployment.key_changes import revoke_key, rotate_key
from deployment.key_file import KeyRecord, change_keys, key_hash, read_keys
from deployment.key_scopes import Scope
from deployment.keys import KeyRing, create_key, server_secret
from hhray.cli import main
from hhray.errors import ConfigError, InvalidApiKey

SECRET = b"a server secret of the tests"
T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "x"}, "parameters": {"duration": 3}}
OLD_KEY = "hh-" + "k" * 43
UNKNOWN = f"hh-{'0' * 12}-{'s' * 43}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def add_old_key(path, tenant):
    """A record as the first format wrote it."""
    record = KeyRecord(id="0123456789ab", tenant=tenant, hash=key_hash(SECRET, OLD_KEY))
    change_keys(path, lambda records: [*records, record])
    kept = [{name: one[name] for name in ("id", "tenant", "admin", "hash")} for one in json.loads(path.read_text())]
    path.write_text(json.dumps(kept))


def test_keys_of_the_first_format_go_on_to_work(path):
    add_old_key(path, "acme")
    new = create_key(path, SECRET, "other", False)
    ring = KeyRing(path, SECRET)
    assert ring.authenticate(f"Bearer {OLD_KEY}").tenant == "acme"
    assert ring.authenticate(f"Bearer {new}").tenant == "other"
    assert ring.authenticate(f"Bearer {OLD_KEY}").scopes == {Scope.SUBMIT, Scope.READ}


def test_a_key_is_an_id_and_256_random_bits(path):
    key = create_key(path, SECRET, "acme", False)
    scheme, key_id, secret = key.split("-", 2)
    assert (scheme, len(key_id), len(secret)) == ("hh", 12, 43)
    assert read_keys(path)[0].id == key_id
    assert KeyRing(path, SECRET).authenticate(f"Bearer {key}").key_id == key_id


def test_every_key_known_or_not_takes_the_same_comparisons(path, monkeypatch):
    add_old_key(path, "acme")
    known = create_key(path, SECRET, "acme", False)
    gone = create_key(path, SECRET, "acme", False)
    revoke_key(path, gone.split("-")[1])
    ring, work = KeyRing(path, SECRET), []
    compare, hashed = hmac.compare_digest, deployment.keys.key_hash
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: work.append(("compare", len(a))) or compare(a, b))
    monkeypatch.setattr(deployment.keys, "key_hash", lambda *given: work.append(("hash", 0)) or hashed(*given))
    seen = {}
    for key in (known, known[:-1] + "!", known[:-1] + "A", UNKNOWN, gone, OLD_KEY, "x", "hh-", "hh-\u00e9" * 9):
        work.clear()
        with suppress(InvalidApiKey):
            ring.authenticate(f"Bearer {key}")
        seen[key] = tuple(work)
    assert set(seen.values()) == {(("hash", 0), ("compare", 64), ("compare", 64))}


def test_the_record_an_unknown_id_is_compared_with_opens_nothing(path):
    create_key(path, SECRET, "acme", False)
    for key in ("", "nobody", "hh-nobody", UNKNOWN):
        with pytest.raises(InvalidApiKey):
            KeyRing(path, SECRET).authenticate(f"Bearer {key}")


@pytest.mark.parametrize(
    ("scopes", "allowed"), [(("submit",), {"POST"}), (("read",), {"GET"}), (("admin",), {"DELETE"}), ((), set())]
)
def test_a_scope_allows_its_routes_and_no_other(make_settings, serve_with, scopes, allowed):
    settings = make_settings()
    key = create_key(settings.keys_file, server_secret(settings), "acme", False, tuple(map(Scope, scopes)))
    headers = {"authorization": f"Bearer {key}", "x-dashscope-async": "enable"}
    create = "/api/v1/services/aigc/video-generation/video-synthesis"
    with serve_with() as live:
        answers = {
            "POST": live.client.post(create, json=T2V, headers=headers),
            "GET": live.client.get("/api/v1/tasks", headers=headers),
            "DELETE": live.client.delete("/api/v1/tenant/data", headers=headers),
        }
    for method, answer in answers.items():
        if method in allowed:
            assert answer.status_code == 200, answer.text
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
            assert "Expected an API-key with the scope" in answer.json()["message"]


def test_an_administrator_of_a_tenant_stops_its_running_tasks_only(make_settings, serve_with):
    settings = make_settings()
    secret = server_secret(settings)
    mine = create_key(settings.keys_file, secret, "acme", False, tuple(Scope))
    other = create_key(settings.keys_file, secret, "other", False, tuple(Scope))
    with serve_with() as live:
        task_id = live.create_id(T2V, key=mine)
        live.store.claim([task_id], "engine", 60.0)

        def stop(key):
            path = f"/api/v1/tasks/{task_id}/cancel?running=true"
            return live.client.post(path, headers={"authorization": f"Bearer {key}"}).status_code

        assert (stop(other), live.store.get(task_id).cancel_requested) == (400, False)
        assert (stop(mine), live.store.get(task_id).cancel_requested) == (200, True)


def test_a_revoked_key_is_refused_at_the_next_request(make_settings, serve_with):
    settings = make_settings()
    key = create_key(settings.keys_file, server_secret(settings), "acme", False)
    with serve_with() as live:
        headers = {"authorization": f"Bearer {key}"}
        assert live.client.get("/api/v1/tasks", headers=headers).status_code == 200
        revoke_key(settings.keys_file, key.split("-")[1])
        began = time.perf_counter()
        answer = live.client.get("/api/v1/tasks", headers=headers)
        print(f"refused {1000 * (time.perf_counter() - began):.1f} ms after the file was written")
    assert (answer.status_code, answer.json()["code"]) == (401, "InvalidApiKey")
    assert "is revoked" in answer.json()["message"]
    assert key not in answer.text


def test_an_expired_key_is_refused_and_says_so_to_its_holder_only(path):
    key = create_key(path, SECRET, "acme", False, expires_at=time.time() - 1)
    ring = KeyRing(path, SECRET)
    with pytest.raises(InvalidApiKey, match="is expired"):
        ring.authenticate(f"Bearer {key}")
    guess = key[:-43] + "A" * 43
    with pytest.raises(InvalidApiKey, match="Expected a key made by"):
        ring.authenticate(f"Bearer {guess}")


def test_both_keys_work_until_the_overlap_of_a_rotation_is_over(path, monkeypatch):
    old = create_key(path, SECRET, "acme", False, (Scope.READ,), time.time() + 1000)
    new, record = rotate_key(path, SECRET, old.split("-")[1], 60.0)
    ring, now = KeyRing(path, SECRET), time.time()
    assert ring.authenticate(f"Bearer {old}").scopes == ring.authenticate(f"Bearer {new}").scopes == {Scope.READ}
    assert record.expires_at == pytest.approx(now + 60, abs=5)
    monkeypatch.setattr(deployment.keys.time, "time", lambda: now + 61)
    with pytest.raises(InvalidApiKey, match="expired"):
        ring.authenticate(f"Bearer {old}")
    assert ring.authenticate(f"Bearer {new}").tenant == "acme"
    monkeypatch.setattr(deployment.keys.time, "time", lambda: now + 1010)
    with pytest.raises(InvalidApiKey, match="expired"):
        ring.authenticate(f"Bearer {new}")  # the new key lives as long as the old one was meant to


def test_a_revoked_key_is_not_rotated_and_an_unknown_one_is_named(path):
    key_id = create_key(path, SECRET, "acme", False).split("-")[1]
    revoke_key(path, key_id)
    with pytest.raises(ConfigError, match="is revoked"):
        rotate_key(path, SECRET, key_id, 60.0)
    with pytest.raises(ConfigError, match="hhray keys list"):
        revoke_key(path, "nobody")


def told(capsys, *argv):
    assert main(["keys", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_verbs_make_list_rotate_and_revoke(tmp_path, capsys):
    home = ("--data-dir", str(tmp_path))
    made = told(capsys, "create", "--tenant", "acme", "--scope", "read", "--expires", "30d", *home)
    key_id = made["key"].split("-")[1]
    assert (made["scopes"], made["tenant"]) == (["read"], "acme")
    rotated = told(capsys, "rotate", key_id, "--overlap", "1h", *home)
    assert rotated["replaces"] == key_id
    assert told(capsys, "revoke", key_id, *home)["state"] == "revoked"
    listed = told(capsys, "list", *home)["keys"]
    assert [one["state"] for one in listed] == ["revoked", "active"]
    assert made["key"] not in json.dumps(listed)
    assert main(["keys", "list", *home]) == 0
    table = capsys.readouterr().out
    assert key_id in table
    assert "revoked" in table
    assert main(["keys", "revoke", "nobody", *home]) == 2
    assert "hhray keys list" in capsys.readouterr().err
