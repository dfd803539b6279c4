"""Uploads over HTTP: policy, form, oss:// in a create; whose they are, and that no name leads anywhere."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time

import pytest

from deployment.artifacts import upload_key
from deployment.janitor import Janitor
from deployment.keys import create_key, server_secret
from deployment.upload_policy import UploadPolicy
from same_pixels import same_pixels

PATH = "/api/v1/uploads"
I2V = "happyhorse-1.0-i2v"


def policy_of(live, model=I2V, key="any"):
    answer = live.client.get(
        PATH, params={"action": "getPolicy", "model": model}, headers={"authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def form_of(policy, name="a.png"):
    return {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": f"{policy['upload_dir']}/{name}",
        "success_action_status": "200",
    }


def send(live, data, given=None, /, name="a.png", **changes):
    """Upload; returns the answer and the URL."""
    form = form_of(given or policy_of(live), name) | changes
    return live.client.post(PATH, data=form, files={"file": ("whatever", data)}), f"oss://{form['key']}"


def create(live, url, key="any", model=I2V, resolve="enable", **headers):
    body = {"model": model, "input": {"media": [{"type": "first_frame", "url": url}]}, "parameters": {"duration": 3}}
    return live.create(body, key=key, x_dashscope_ossresourceresolve=resolve, **headers)


@pytest.fixture(scope="module")
def picture_bytes():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (400, 320), (200, 120, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_policy_has_the_hosted_apis_fields_and_limits(refusing):
    policy = policy_of(refusing)
    assert set(policy) == {
        *("policy", "signature", "upload_dir", "upload_host", "expire_in_seconds", "max_file_size_mb"),
        *("capacity_limit_mb", "oss_access_key_id", "x_oss_object_acl", "x_oss_forbid_overwrite"),
    }
    assert (policy["expire_in_seconds"], policy["max_file_size_mb"], policy["capacity_limit_mb"]) == (300, 20, 10_000)
    assert policy["upload_host"] == f"{refusing.url}{PATH}"
    assert policy_of(refusing, "happyhorse-1.0-video-edit")["max_file_size_mb"] == 100
    for query in ("action=getPolicy", "action=getPolicy&model=wan-9", f"model={I2V}"):
        answer = refusing.client.get(f"{PATH}/?{query}")
        assert (answer.status_code, set(answer.json())) == (400, {"code", "message", "request_id"})


def test_an_uploaded_picture_is_a_first_frame_with_a_life_of_its_own(live, picture_bytes):
    answer, url = send(live, picture_bytes, name="..\\a 马.png")
    assert (answer.status_code, answer.content) == (200, b"")
    task_id = create(live, url).json()["output"]["task_id"]
    artifacts, store = live.services.artifacts, live.store
    upload = store.upload("local", url.removeprefix("oss://"))
    artifacts.delete_task(upload.upload_id)
    store.drop_upload(upload.upload_id)
    assert live.intake.run_once()
    task = store.get(task_id)
    assert (task.ready, task.request.ratio, task.request.media[0].url) == (True, "5:4", "")
    assert same_pixels(artifacts.local_path(task.request.media[0].key).read_bytes(), picture_bytes)
    assert create(live, url).json()["code"] == "InvalidURL"  # gone, and the task does not mind


def test_the_janitor_removes_uploads_in_time_and_no_earlier(serve_with, picture_bytes):
    with serve_with(uploads={"ttl_seconds": 0.2}, store={"orphan_grace_seconds": 0.001}) as live:
        _, url = send(live, picture_bytes)
        upload = live.store.upload("local", url.removeprefix("oss://"))
        path = live.services.artifacts.local_path(upload_key(upload.upload_id, "local"))
        janitor = Janitor(live.store, live.services.artifacts, live.services.settings.store)
        time.sleep(0.01)
        assert (janitor.collect(), path.exists()) == (0, True)
        time.sleep(0.2)
        janitor.expire()
        assert not path.parent.exists()
        assert live.store.uploaded_bytes("local") == 0


def test_an_upload_is_of_one_tenant_and_one_model(make_settings, serve_with, picture_bytes):
    settings = make_settings()
    keys = [
        create_key(settings.keys_file, server_secret(settings), tenant, admin=False) for tenant in ("acme", "other")
    ]
    with serve_with() as live:
        assert live.client.get(PATH, params={"action": "getPolicy", "model": I2V}).status_code == 401
        answer, url = send(live, picture_bytes, policy_of(live, key=keys[0]))
        assert answer.status_code == 200
        foreign, unknown = create(live, url, keys[1]), create(live, url.replace("a.png", "b.png"), keys[1])
        assert (foreign.status_code, foreign.json()["code"]) == (400, "InvalidURL")
        assert foreign.json()["message"] == unknown.json()["message"]  # it does not tell that there is such a file
        assert create(live, url, keys[0], model="happyhorse-1.1-i2v").json()["code"] == "InvalidURL"
        assert create(live, url, keys[0], resolve="disable").json()["code"] == "InvalidURL"
        assert create(live, url, keys[0]).status_code == 200


def test_a_repeated_call_that_uploads_its_file_anew_is_the_same_call(live, picture_bytes):
    ids = {create(live, send(live, picture_bytes)[1], idempotency_key="one").json()["output"]["task_id"] for _ in "ab"}
    assert len(ids) == 1
    assert create(live, send(live, picture_bytes + b"x")[1], idempotency_key="one").status_code == 422


BAD = {
    "no signature": ({"Signature": ""}, 403),
    "another signature": ({"Signature": "0" * 64}, 403),
    "a policy of the client's": ({"policy": base64.b64encode(b'{"tenant": "other"}').decode()}, 403),
    "another folder": ({"key": "uploads/00000000-0000-4000-8000-000000000000/a.png"}, 400),
    "a way out": ({"key": "{dir}/../../../etc/passwd"}, 400),
    "a folder below": ({"key": "{dir}/a/b.png"}, 400),
    "no name": ({"key": "{dir}/"}, 400),
    "a long name": ({"key": "{dir}/" + "x" * 201}, 400),
    "a line break": ({"key": "{dir}/a\r\nb"}, 400),
    "a NUL": ({"key": "{dir}/a\x00b"}, 400),
}


@pytest.mark.parametrize("name", BAD)
def test_a_form_that_is_not_what_was_permitted_leaves_nothing(refusing, name):
    changes, status = BAD[name]
    policy = policy_of(refusing)
    changes = {field: value.replace("{dir}", policy["upload_dir"]) for field, value in changes.items()}
    answer, _ = send(refusing, b"x" * 100_000, policy, **changes)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert_nothing_left(refusing)


def assert_nothing_left(live):
    assert live.store.uploaded_bytes("local") == 0
    assert [path for path in live.services.settings.artifact_dir.rglob("*") if path.is_file()] == []


def test_an_expired_policy_is_refused(refusing):
    text, signature = UploadPolicy.fresh("local", I2V, 1000, time.time() - 1).signed(refusing.services.keys.signature)
    policy = policy_of(refusing) | {"policy": text, "signature": signature}
    assert send(refusing, b"x", policy)[0].status_code == 403


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no form"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header"),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="key"\r\n\r\n' + b"x" * 9000),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n' * 40),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--'),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"x: y\r\n" * 5000),
    ],
)
def test_what_is_no_form_is_refused(refusing, content_type, content):
    answer = refusing.client.post(PATH, content=content, headers={"content-type": content_type})
    assert answer.status_code in (400, 403), answer.text
    assert set(answer.json()) == {"code", "message", "request_id"}


def test_size_room_and_names_are_bounded_and_what_is_refused_leaves_nothing(serve_with, picture_bytes):
    with serve_with(media={"max_bytes": 5000}, uploads={"tenant_bytes": 8999}) as live:
        answer, _ = send(live, b"x" * 5001)
        assert (answer.status_code, answer.json()["code"]) == (400, "BadRequest.TooLarge")
        assert send(live, b"")[0].json()["code"] == "InvalidParameter"
        assert_nothing_left(live)
        policy = policy_of(live)
        assert send(live, b"x" * 4000, policy)[0].status_code == 200
        assert send(live, b"y" * 4000, policy)[0].json()["code"] == "InvalidParameter"  # no overwriting
        answer, _ = send(live, b"x" * 5000)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.AllocationQuota")
        assert int(answer.headers["retry-after"]) > 0
        assert live.store.uploaded_bytes("local") == 4000


def slow_upload(live, leave):
    """Send half a form, then stop or (leave) break the connection; what the server answers."""
    head = "".join(
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form_of(policy_of(live)).items()
    )
    body = head + '--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n' + "x" * 2000
    with socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000\r\n"
            f"content-type: multipart/form-data; boundary=b\r\n\r\n{body}".encode()
        )
        if leave:
            until(lambda: live.store.uploaded_bytes("local") > 0)
            return b""
        return connection.recv(10_000)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("leave", [False, True])
def test_an_upload_that_stops_is_ended_and_leaves_nothing(serve_with, leave, monkeypatch):
    monkeypatch.setattr("deployment.web.uploads.DRAIN_SECONDS", 0.1)
    with serve_with(uploads={"grace_seconds": 30.0 if leave else 0.3, "least_bytes_per_second": 1e9}) as live:
        answer = slow_upload(live, leave)
        if not leave:
            assert b" 400 " in answer
            assert b"bytes a second" in answer
        until(lambda: live.store.uploaded_bytes("local") == 0)
        assert_nothing_left(live)


def test_more_uploads_than_are_taken_at_once_wait_for_their_turn(serve_with, picture_bytes):
    with serve_with(uploads={"parallel": 2}) as live:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(send(live, picture_bytes)[0])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 6
        assert live.store.uploaded_bytes("local") == 6 * len(picture_bytes)


def test_a_policy_says_nothing_but_what_the_client_knows_and_no_secret(refusing):
    told = json.loads(base64.b64decode(policy_of(refusing)["policy"]))
    assert set(told) == {"tenant", "model", "folder", "max_bytes", "expires_at"}
