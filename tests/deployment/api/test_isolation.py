"""Two tenants: nothing of one is seen, changed, counted or fetched by the other, through any route there is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.routing import APIRoute

from deployment.key_scopes import Scope
from deployment.keys import create_key, server_secret
from deployment.web import create_app
from deployment.webhooks.signature import webhook_secret

T2V = {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse nobody else may see"}, "parameters": {"duration": 3}}
I2V = "happyhorse-1.0-i2v"
GUESS = "00000000-0000-4000-8000-000000000000"


@dataclass
class TwoTenants:
    """A server, the victim's tasks and the intruder's key; `send` is one request of the intruder's."""

    live: object
    victim: str
    intruder: str
    done: str
    waiting: str

    def send(self, method: str, path: str, **options: object):
        headers = {"authorization": f"Bearer {self.intruder}", "x-dashscope-async": "enable"}
        return self.live.client.request(method, path, headers=headers, **options)

    def is_untouched(self) -> bool:
        done = self.live.get(self.done, self.victim)["output"]
        waiting = self.live.get(self.waiting, self.victim)["output"]
        clip = self.live.client.get(done["video_url"])
        found = (done["task_status"], waiting["task_status"], clip.status_code, clip.content)
        return found == ("SUCCEEDED", "PENDING", 200, b"a clip's bytes")


@pytest.fixture
def two(make_settings, serve_with):
    settings = make_settings()
    secret = server_secret(settings)
    victim = create_key(settings.keys_file, secret, "victim", False)
    intruder = create_key(settings.keys_file, secret, "intruder", False, tuple(Scope))
    with serve_with() as live:
        done = live.create_id(T2V, key=victim, idempotency_key="order-1")
        live.finish(done)
        yield TwoTenants(live, victim, intruder, done, live.create_id(T2V, key=victim))


def is_unknown(two: TwoTenants, path: str) -> None:
    for task_id in (two.done, two.waiting, GUESS):
        answer = two.send("GET", path.format(task_id=task_id))
        assert answer.json()["output"] == {"task_id": task_id, "task_status": "UNKNOWN"}


def cannot_be_cancelled(two: TwoTenants, path: str) -> None:
    for task_id in (two.waiting, two.done, GUESS):
        for query in ("", "?running=true"):
            answer = two.send("POST", path.format(task_id=task_id) + query)
            assert (answer.status_code, answer.json()["code"]) == (400, "UnsupportedOperation")


def is_not_listed(two: TwoTenants, path: str) -> None:
    for query in ("", f"?task_id={two.done}", "?status=PENDING"):
        answer = two.send("GET", path + query).json()
        assert (answer["total"], two.done in str(answer["data"])) == (0, False)


def is_ones_own(two: TwoTenants, path: str) -> None:
    """A create with the victim's idempotency key is a task of the intruder's, and no clip of the victim's comes."""
    answer = two.live.create(T2V, key=two.intruder, idempotency_key="order-1")
    mine = answer.json()["output"]["task_id"]
    assert mine not in (two.done, two.waiting)
    assert two.live.get(mine, two.victim)["output"]["task_status"] == "UNKNOWN"
    assert path.rstrip("/").endswith("video-synthesis")


def is_not_downloaded(two: TwoTenants, path: str) -> None:
    """A signature is for one file and one time: the intruder's own does not open the victim's."""
    mine = two.live.create_id(T2V, key=two.intruder)
    two.live.finish(mine)
    url = urlsplit(two.live.get(mine, two.intruder)["output"]["video_url"])
    theirs = urlsplit(two.live.get(two.done, two.victim)["output"]["video_url"])
    later = str(int(parse_qs(theirs.query)["Expires"][0]) + 1)
    for altered in (
        f"{theirs.path}?{url.query}",
        f"{theirs.path}",
        f"{theirs.path}?{theirs.query[:-1]}",
        f"{theirs.path}?Expires={later}&Signature={parse_qs(theirs.query)['Signature'][0]}",
        f"{url.path.rsplit('/', 2)[0]}/{two.done}/1.mp4?{url.query}",
        f"/artifacts/inputs/{two.done}/0?{theirs.query}",
    ):
        assert two.send("GET", altered).status_code == 403, altered
    assert path.startswith("/artifacts/")


def is_ones_own_sum(two: TwoTenants, path: str) -> None:
    assert "victim" not in two.send("GET", path).text
    refused = two.send("GET", f"{path}?tenant=victim")
    assert (refused.status_code, refused.json()["code"]) == (403, "AccessDenied")


def removes_ones_own(two: TwoTenants, path: str) -> None:
    assert two.send("DELETE", f"{path}?tenant=victim").status_code == 403
    mine = two.live.create_id(T2V, key=two.intruder)
    answer = two.send("DELETE", path).json()
    assert (answer["tenant"], answer["complete"]) == ("intruder", True)
    assert two.live.get(mine, two.intruder)["output"]["task_status"] == "UNKNOWN"


def tells_no_names(two: TwoTenants, path: str) -> None:
    text = two.send("GET", path).text
    assert not any(name in text for name in ("victim", two.done, two.waiting, "nobody else may see"))


def is_no_video(two: TwoTenants, path: str) -> None:
    for method in METHODS_OF_VIDEOS[path.rstrip("/")]:
        for task_id in (two.done, two.waiting, GUESS):
            answer = two.send(method, path.format(video_id=task_id), json={"prompt": "mine now"})
            assert (answer.status_code, "error" in answer.json()) == (404, True), (method, path)


def is_no_video_of_the_list(two: TwoTenants, path: str) -> None:
    listed = {video["id"] for video in two.send("GET", path).json()["data"]}
    assert listed.isdisjoint((two.done, two.waiting))
    for query in (f"?after={two.done}", f"?after={two.waiting}&order=asc"):
        answer = two.send("GET", path + query)
        assert (answer.status_code, answer.json().get("data", [])) in ((400, []), (404, []))


def is_ones_own_video(two: TwoTenants, path: str) -> None:
    for given in ({"prompt": "a horse"}, {"prompt": "a horse", "video": {"id": two.done}}):
        answer = two.live.client.request(
            "POST", path, headers={"authorization": f"Bearer {two.intruder}", "idempotency-key": "order-1"}, json=given
        )
        assert answer.status_code in (200, 400, 404, 422), answer.text
        assert two.done not in answer.text
    assert two.send("POST", path, json={"prompt": "a horse", "video": {"id": two.done}}).status_code in (400, 404)


def is_never_there(two: TwoTenants, path: str) -> None:
    assert two.send("POST", path, json={"video": {"id": two.done}}).status_code == 404


def opens_no_upload(two: TwoTenants, path: str) -> None:
    """An upload of the victim's is no picture for the intruder, whoever sends its form."""
    headers = {"authorization": f"Bearer {two.victim}"}
    asked = two.live.client.get(path, params={"action": "getPolicy", "model": I2V}, headers=headers).json()["data"]
    form = {
        "OSSAccessKeyId": asked["oss_access_key_id"],
        "Signature": asked["signature"],
        "policy": asked["policy"],
        "key": f"{asked['upload_dir']}/a.png",
        "success_action_status": "200",
    }
    assert two.live.client.post(path, data=form, files={"file": ("a.png", b"a picture")}).status_code in (200, 400)
    media = [{"type": "first_frame", "url": f"oss://{form['key']}"}]
    body = {"model": I2V, "input": {"media": media}}
    answer = two.live.create(body, key=two.intruder, x_dashscope_ossresourceresolve="enable")
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidURL")


METHODS_OF_VIDEOS = {
    "/v1/videos/{video_id}": ("GET", "DELETE"),
    "/v1/videos/{video_id}/content": ("GET",),
    "/v1/videos/{video_id}/events": ("GET",),
    "/v1/videos/{video_id}/remix": ("POST",),
}
Check = Callable[[TwoTenants, str], None]
CHECKS: dict[tuple[str, str], Check] = {
    ("POST", "/api/v1/services/aigc/video-generation/video-synthesis"): is_ones_own,
    ("GET", "/api/v1/tasks"): is_not_listed,
    ("GET", "/api/v1/tasks/{task_id}"): is_unknown,
    ("POST", "/api/v1/tasks/{task_id}/cancel"): cannot_be_cancelled,
    ("GET", "/artifacts/{key:path}"): is_not_downloaded,
    ("GET", "/api/v1/usage"): is_ones_own_sum,
    ("GET", "/api/v1/quotas"): is_ones_own_sum,
    ("DELETE", "/api/v1/tenant/data"): removes_ones_own,
    ("GET", "/metrics"): tells_no_names,
    ("GET", "/healthz"): tells_no_names,
    ("GET", "/health"): tells_no_names,
    ("GET", "/openapi.json"): tells_no_names,
    ("GET", "/v1/models"): tells_no_names,
    ("GET", "/api/v1/uploads"): opens_no_upload,
    ("POST", "/api/v1/uploads"): opens_no_upload,
    ("GET", "/v1/videos"): is_no_video_of_the_list,
    ("POST", "/v1/videos"): is_ones_own_video,
    ("POST", "/v1/videos/edits"): is_ones_own_video,
    ("POST", "/v1/videos/extensions"): is_never_there,
    ("POST", "/v1/videos/characters"): is_never_there,
    **{(method, path): is_no_video for path, methods in METHODS_OF_VIDEOS.items() for method in methods},
}


def every_route(routes: Iterable) -> Iterator:
    """Those of routers that are part of the application among them."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from [route] if inner is None else every_route(inner.routes)


def test_no_route_shows_or_changes_what_is_another_tenants(two):
    """Every route of the application is tried; one that is new and has no check fails here."""
    found = list(every_route(create_app(two.live.services).routes))
    assert {type(route) for route in found} == {APIRoute}
    routes = {(method, route.path) for route in found for method in route.methods - {"HEAD"}}
    unchecked = {(method, path) for method, path in routes if (method, path.rstrip("/")) not in CHECKS}
    assert unchecked == set(), "add a check of what another tenant gets"
    assert {(method, path.rstrip("/")) for method, path in routes} == set(CHECKS)
    for method, path in sorted(routes):
        CHECKS[method, path.rstrip("/")](two, path)
        assert two.is_untouched(), (method, path)


def test_the_servers_administrator_sees_all_sums_and_forgets_any_tenant(two, make_settings):
    settings = make_settings()
    admin = create_key(settings.keys_file, server_secret(settings), "operators", True)
    two.intruder = admin
    assert [row["tenant"] for row in two.send("GET", "/api/v1/usage").json()["data"]] == ["victim"]
    assert two.send("GET", "/api/v1/quotas?tenant=victim").json()["data"]["unfinished_tasks"]["used"] == 1
    folder = two.live.services.artifacts.local_path(f"clips/{two.done}/1.mp4").parent
    assert folder.is_dir()
    answer = two.send("DELETE", "/api/v1/tenant/data?tenant=victim")
    assert answer.json() | {"request_id": ""} == {
        "request_id": "",
        "tenant": "victim",
        "tasks_removed": 2,
        "complete": True,
    }
    assert not folder.exists()
    assert two.live.get(two.done, two.victim)["output"]["task_status"] == "UNKNOWN"


def test_secrets_are_in_no_log(make_settings, serve_with, caplog):
    """All loggers at their most talkative, but for the access log of the test's own HTTP server: Serve has another."""
    with caplog.at_level(logging.DEBUG):
        settings = make_settings(keys={"secret": "the-servers-own-secret"})
        keys = [create_key(settings.keys_file, server_secret(settings), name, False) for name in ("a", "b")]
        with serve_with(keys={"secret": "the-servers-own-secret"}) as live:
            told = T2V | {"parameters": {"duration": 3, "webhook_url": "https://hooks.example/x?token=nobody-knows"}}
            task_id = live.create_id(told, key=keys[0], idempotency_key="an-order")
            live.finish(task_id)
            url = live.get(task_id, keys[0])["output"]["video_url"]
            assert live.client.get(url).status_code == 200
            assert live.client.get(url + "0").status_code == 403
            assert live.create({"model": 1}, key=keys[0]).status_code == 400
            assert live.create(T2V, key=keys[1][:-1] + "!").status_code == 401
            live.services.settings.keys_file.write_text("[{")
            assert live.create(T2V, key=keys[1]).status_code == 200
    signature = parse_qs(urlsplit(url).query)["Signature"][0]
    hashes = [live.services.keys.prompt_hash("x"), "the-servers-own-secret", signature, *keys]
    hashes += [key.rsplit("-", 1)[-1] for key in keys] + ["nobody else may see", "nobody-knows"]
    hashes += [webhook_secret(server_secret(settings), "a", 1).removeprefix("whsec_")]
    lines = [record for record in caplog.records if record.name not in ("httpx", "httpcore", "asyncio")]
    assert any("keys not read again" in record.getMessage() for record in lines)
    logged = "\n".join(record.getMessage() + str(record.exc_text or "") for record in lines)
    assert [secret for secret in hashes if secret in logged] == []
