"""From a task's end to a receiver on loopback, through the real store and the real dispatcher."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from standardwebhooks import Webhook

from deployment.store.sqlite import SqliteStore
from deployment.webhooks.dispatcher import WebhookDispatcher
from deployment.webhooks.records import DeliveryFilter, DeliveryState
from deployment.webhooks.signature import webhook_secret
from hhray.cli import main
from hhray.errors import StoreUnavailable
from hhray.request import ClipRequest, Mode
from hhray.settings import Settings
from hhray.tasks import NewTask
from webhook_receiver import receiving

SECRET = b"a server's secret of its own"
CLIP = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="a horse")


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


@pytest.fixture
def clock():
    """Seconds that the store's clock is ahead."""
    return [0.0]


@pytest.fixture
def store(tmp_path, clock):
    opened = SqliteStore(tmp_path / "tasks.sqlite3", clock=lambda: time.time() + clock[0])
    yield opened
    opened.close()


@pytest.fixture
def make(tmp_path, store, receiver):
    """A dispatcher that may reach the receiver, with other settings of webhooks and tenants if need be."""

    def build(*others, tenants=None, **webhooks):
        allowed = [receiver.host, *others]
        settings = Settings(
            data_dir=str(tmp_path), media={"allowed_private": allowed}, webhooks=webhooks, tenants=tenants or {}
        )
        return WebhookDispatcher(settings, store, SECRET)

    return build


@pytest.fixture
def end(store):
    def build(task_id, url, tenant="acme"):
        store.create(NewTask(tenant, CLIP, "request", 1.0, True, task_id, 3600.0, webhook=url))
        assert store.cancel_pending(task_id, tenant)

    return build


def only(store):
    (delivery,) = store.webhooks(DeliveryFilter())
    return delivery, store.webhook_attempts(delivery.delivery_id)


@contextmanager
def running(*dispatchers):
    stop = threading.Event()
    threads = [threading.Thread(target=dispatcher.serve, args=(stop,)) for dispatcher in dispatchers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def test_the_end_of_a_task_arrives_signed_and_is_logged(store, receiver, make, end):
    end("t1", receiver.url("/hook?room=7"))
    dispatcher = make(tenants={"acme": {"webhook_generations": [3, 2]}})
    assert dispatcher.run_once() == 1
    assert dispatcher.run_once() == 0
    ((path, headers, body),) = receiver.got
    assert (path, headers["host"], headers["content-type"]) == ("/hook?room=7", receiver.host, "application/json")
    for generation in (2, 3):
        event = Webhook(webhook_secret(SECRET, "acme", generation)).verify(body, headers)
    assert (event["id"], event["data"]["task_id"], event["data"]["task_status"]) == ("evt_t1", "t1", "CANCELED")
    delivery, (attempt,) = only(store)
    assert (delivery.state, delivery.last_status, attempt.status) == (DeliveryState.DELIVERED, 200, 200)
    assert attempt.detail == "thanks"
    assert 0 <= attempt.seconds < 5


def test_what_fails_is_sent_again_with_the_same_id_and_body_and_a_new_signature(store, receiver, make, end, clock):
    answers = iter([(503, b"busy " * 2000), (200, b"")])
    receiver.answer = lambda path: next(answers)
    end("t1", receiver.url())
    dispatcher = make()
    assert dispatcher.run_once() == 1
    assert dispatcher.run_once() == 0  # not due yet
    clock[0] += 7
    assert dispatcher.run_once() == 1
    (_, first, body), (_, second, again) = receiver.got
    assert receiver.ids() == ["evt_t1", "evt_t1"]
    assert body == again
    for headers in (first, second):
        Webhook(webhook_secret(SECRET, "acme", 1)).verify(body, headers)
    delivery, log = only(store)
    assert [entry.status for entry in log] == [503, 200]
    assert len(log[0].detail) == 200  # of the receiver's 10,000 bytes
    assert delivery.state is DeliveryState.DELIVERED


def test_gone_is_gone_and_a_window_without_success_ends(store, receiver, make, end, clock):
    receiver.answer = lambda path: (410 if path == "/gone" else 500, b"")
    end("t1", receiver.url("/gone"))
    dispatcher = make()
    dispatcher.run_once()
    assert only(store)[0].state is DeliveryState.GIVEN_UP
    end("t2", receiver.url("/broken"))
    for _ in range(40):
        dispatcher.run_once()
        clock[0] += 600
    (late,) = store.webhooks(DeliveryFilter(task_id="t2"))
    assert late.state is DeliveryState.GIVEN_UP
    assert 10 <= late.attempts <= 13
    assert receiver.ids().count("evt_t2") == late.attempts


def test_redirects_are_not_followed_and_silence_ends_in_time(store, receiver, make, end, clock):
    receiver.headers = {"location": receiver.url("/elsewhere")}
    receiver.answer = lambda path: (302, b"")
    end("t1", receiver.url())
    make().run_once()
    assert [path for path, _, _ in receiver.got] == ["/hook"]
    assert "redirects are not followed" in only(store)[1][0].detail
    receiver.answer = lambda path: (time.sleep(1.0), (200, b""))[1]
    clock[0] += 10
    began = time.monotonic()
    make(timeout_seconds=0.3).run_once()
    assert time.monotonic() - began < 0.9
    assert only(store)[1][1].detail == "no answer within 0.3 seconds"


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://127.0.0.1:1/", "public address"),
        ("https://169.254.169.254/", "public address"),
        ("https://no-such-host.invalid/", "cannot be resolved"),
        ("http://hooks.example/", "begins with https://"),
    ],
)
def test_a_receiver_inside_is_never_connected(store, receiver, make, end, url, part):
    end("t1", url)  # as if the tenant's setting named it, or its name had led elsewhere at the create
    make().run_once()
    delivery, (attempt,) = only(store)
    assert (delivery.state, attempt.status) == (DeliveryState.WAITING, 0)
    assert part in attempt.detail


def test_a_crash_between_sending_and_noting_sends_it_again_under_the_same_id(
    store, receiver, make, end, clock, monkeypatch
):
    def fail(*args):
        raise StoreUnavailable("the process died here")

    end("t1", receiver.url())
    dispatcher = make()
    with monkeypatch.context() as dying:
        dying.setattr(store, "webhook_answered", fail)
        with pytest.raises(StoreUnavailable):
            dispatcher.run_once()
    assert dispatcher.run_once() == 0  # its lease is not over
    clock[0] += 60
    assert dispatcher.run_once() == 1
    assert receiver.ids() == ["evt_t1", "evt_t1"]
    delivery, (attempt,) = only(store)
    assert (delivery.state, delivery.attempts, attempt.attempt) == (DeliveryState.DELIVERED, 2, 2)


def test_two_dispatchers_deliver_all_and_each_once(store, receiver, make, end):
    tasks = [f"t{number}" for number in range(12)]
    for task_id in tasks:
        end(task_id, receiver.url())
    with running(make(poll_seconds=0.05), make(poll_seconds=0.05)):
        for _ in tasks:
            assert receiver.arrived.acquire(timeout=20)
    assert sorted(receiver.ids()) == sorted(f"evt_{task_id}" for task_id in tasks)
    assert {delivery.state for delivery in store.webhooks(DeliveryFilter())} == {DeliveryState.DELIVERED}


def test_a_receiver_that_hangs_does_not_hold_up_the_others(store, receiver, make, end):
    release = threading.Event()
    with receiving() as hanging:
        hanging.answer = lambda path: (release.wait(30), (200, b""))[1]
        for number in range(12):
            end(f"h{number}", hanging.url())
        for number in range(4):
            end(f"t{number}", receiver.url(), tenant="acme" if number % 2 else "bob")
        with running(make(hanging.host, max_at_once=4, per_receiver=2, poll_seconds=0.05)):
            for _ in range(4):
                assert receiver.arrived.acquire(timeout=20)
            assert len(hanging.got) == 2
            release.set()


def test_the_command_shows_secrets_and_the_log_and_sends_again(store, receiver, make, end, tmp_path, capsys):
    receiver.answer = lambda path: (410, b"\x1b[2Jno more")
    end("t1", receiver.url())
    end("t2", receiver.url(), tenant="bob")
    dispatcher = make()
    dispatcher.run_once()
    there = ["--data-dir", str(tmp_path)]

    def told(*args):
        assert main(["webhooks", *args, *there, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    (listed,) = told("list", "--task", "t1")["webhooks"]
    assert (listed["state"], listed["log"][0]["detail"]) == ("GIVEN_UP", " [2Jno more")
    assert [one["task_id"] for one in told("list", "--tenant", "bob")["webhooks"]] == ["t2"]
    assert main(["webhooks", "list", "--task", "t1", *there]) == 0
    table = capsys.readouterr().out
    assert "evt_t1" in table
    assert "\x1b[2J" not in table
    receiver.answer = lambda path: (200, b"")
    assert told("redeliver", "evt_t1") == {"redelivered": ["evt_t1"]}
    assert main(["webhooks", "redeliver", "evt_nobody", *there]) == 2
    assert "evt_nobody" in capsys.readouterr().err
    assert dispatcher.run_once() == 1
    assert receiver.ids()[-1] == "evt_t1"
    secrets = told("secret", "--tenant", "acme", "--generation", "2")["secrets"]
    assert list(secrets) == ["2"]
    assert secrets["2"].startswith("whsec_")
    assert secrets == told("secret", "--tenant", "acme", "--generation", "2")["secrets"]


KILLED = """
import sys
from pathlib import Path
from deployment.store.sqlite import SqliteStore
from deployment.webhooks.dispatcher import WebhookDispatcher
from hhray.settings import Settings

settings = Settings(data_dir=sys.argv[1], media={"allowed_private": [sys.argv[2]]})
store = SqliteStore(Path(sys.argv[1]) / "tasks.sqlite3")
WebhookDispatcher(settings, store, b"a server's secret of its own").run_once()
"""


def test_a_process_killed_while_the_receiver_answers_leaves_the_event_to_the_next(
    store, receiver, make, end, clock, tmp_path
):
    end("t1", receiver.url())
    dying = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), receiver.host])
    receiver.answer = lambda path: (dying.kill(), dying.wait(20), (200, b""))[2]
    assert dying.wait(30) == -signal.SIGKILL
    receiver.answer = lambda path: (200, b"")
    assert make().run_once() == 0
    clock[0] += 60
    assert make().run_once() == 1
    assert receiver.ids() == ["evt_t1", "evt_t1"]
    assert receiver.got[0][2] == receiver.got[1][2]
    assert only(store)[0].state is DeliveryState.DELIVERED
