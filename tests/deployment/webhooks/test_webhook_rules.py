"""Webhooks as pure functions: the event, its signature, its schedule, and which URLs are taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from deployment.addresses import read_webhook
from deployment.webhooks.event import event_body, event_id, receiver_of
from deployment.webhooks.schedule import is_delivered, retry_after
from deployment.webhooks.signature import signature_headers, webhook_secret
from hhray.errors import ConfigError, InvalidURL
from hhray.request import ClipRequest, Mode
from hhray.settings import load_settings
from hhray.store_settings import MediaSettings
from hhray.tasks import Task, TaskState

SERVER_SECRET = b"a server's secret"
NOON = datetime(2026, 11, 22, 4, 0, 0, 250_000, UTC).timestamp()


def ended(state=TaskState.SUCCEEDED, scheduled=NOON - 80):
    clip = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt="a secret plan")
    times = {"submitted_at": NOON - 90, "scheduled_at": scheduled, "ended_at": NOON, "expires_at": NOON + 9}
    return Task("id-1", "acme", state, clip, "request-1", 1.0, True, api_key_id="key-1", **times)


def test_the_event_is_a_cloud_event_with_the_hosted_services_fields_and_no_prompt():
    text = event_body(ended())
    event = json.loads(text)
    assert {name: event[name] for name in ("specversion", "source", "type", "id", "time", "aliyunaccountid")} == {
        "specversion": "1.0",
        "source": "acs.dashscope",
        "type": "dashscope:System:AsyncTaskFinish",
        "id": event_id("id-1"),
        "time": "2026-11-22T04:00:00.250Z",
        "aliyunaccountid": "acme",
    }
    assert event["data"] == {
        "task_id": "id-1",
        "task_status": "SUCCEEDED",
        "start_time": "2026-11-22 11:58:40",
        "end_time": "2026-11-22 12:00:00",
        "request_id": "request-1",
        "api_key_id": "key-1",
        "region": "local",
        "user_api_unique_key": "apikey:v1:aigc:video-generation:video-synthesis:happyhorse-1.0-t2v",
        "contain_result": True,
    }
    assert "secret plan" not in text


def test_a_task_that_never_ran_began_when_it_was_submitted():
    data = json.loads(event_body(ended(TaskState.CANCELED, scheduled=None)))["data"]
    assert (data["start_time"], data["contain_result"]) == ("2026-11-22 11:58:30", False)


def test_each_listed_secret_makes_a_signature_that_an_independent_library_accepts():
    body, secrets = b'{"a":1}', [webhook_secret(SERVER_SECRET, "acme", generation) for generation in (2, 1)]
    headers = signature_headers("evt_1", int(datetime.now(UTC).timestamp()), body, secrets)
    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == {"a": 1}
    foreign = webhook_secret(SERVER_SECRET, "bob", 1)
    for wrong_secret, wrong_body in ((foreign, body), (secrets[0], b'{"a":2}')):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong_secret).verify(wrong_body, headers)
    late = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(body, late)


def test_our_signature_is_that_of_the_library():
    secret, now = webhook_secret(SERVER_SECRET, "acme", 1), datetime.now(UTC) - timedelta(seconds=5)
    theirs = Webhook(secret).sign("evt_1", now, "{}")
    assert signature_headers("evt_1", int(now.timestamp()), b"{}", [secret])["webhook-signature"] == theirs


def test_secrets_differ_by_tenant_generation_and_server():
    made = {
        webhook_secret(server, tenant, generation)
        for server in (SERVER_SECRET, b"another server's")
        for tenant in ("a", "b", "1:a")
        for generation in (1, 2)
    }
    assert len(made) == 12


def test_tries_are_spread_over_two_hours_and_end():
    waited, delays = 0.0, []
    while (seconds := retry_after("evt_1", len(delays) + 1, 503, waited, 7200.0)) is not None:
        delays.append(seconds)
        waited += seconds
    assert 10 <= len(delays) <= 13
    assert 5400 < waited <= 7200
    plain = [min(1800.0, 5.0 * 2**index) for index in range(len(delays))]
    assert all(0.8 * usual <= delay <= 1.2 * usual for usual, delay in zip(plain, delays, strict=True))
    assert len({retry_after(f"evt_{number}", 3, 0, 0.0, 7200.0) for number in range(20)}) == 20


def test_gone_is_final_and_only_2xx_is_delivered():
    assert retry_after("evt_1", 1, 410, 0.0, 7200.0) is None
    assert retry_after("evt_1", 1, 404, 0.0, 7200.0) is not None
    assert [status for status in (0, 199, 200, 204, 299, 300, 410, 503) if is_delivered(status)] == [200, 204, 299]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://hooks.example/x", "begins with https://"),
        ("https://10.0.0.8/x", "public address"),
        ("https://[::ffff:10.0.0.8]/x", "public address"),
        ("https://localhost/x", "public address"),
        ("https://user:password@hooks.example/", "without user name"),
        ("https://hooks.example:22/", "port 80 or 443"),
        ("ftp://hooks.example/", "http:// or https://"),
        ("https://hooks.example/" + "x" * 2048, "at most 2048 characters"),
        ("https://hooks.example/\u00e9", "ASCII"),
        (["https://hooks.example/"], "as text"),
        (7, "as text"),
    ],
)
def test_webhook_urls_that_are_refused(url, part):
    with pytest.raises(InvalidURL, match=part) as caught:
        read_webhook("parameters.webhook_url", url, MediaSettings())
    assert caught.value.message.startswith("parameters.webhook_url: ")


def test_webhook_urls_that_are_taken():
    assert read_webhook("webhook_url", None, MediaSettings()) == ""
    url = "https://hooks.example/x?key=1"
    assert read_webhook("webhook_url", url, MediaSettings()) == url
    inside = MediaSettings(allowed_private=("10.0.0.8:9000",), ports=(443, 8443))
    for url in ("http://10.0.0.8:9000/x", "https://hooks.example:8443/"):
        assert read_webhook("webhook_url", url, inside) == url


def test_lines_are_told_apart_by_host_and_port():
    assert receiver_of("https://Hooks.Example/a") == receiver_of("https://hooks.example/b")
    assert receiver_of("https://hooks.example:8443/") != receiver_of("https://hooks.example/")


@pytest.mark.parametrize(
    "overrides",
    [
        {"webhooks": {"keep_seconds": 100, "window_seconds": 100}},
        {"tenants": {"acme": {"webhook_url": "file:///etc/passwd"}}},
        {"tenants": {"acme": {"webhook_generations": []}}},
    ],
)
def test_settings_that_cannot_be_are_refused(overrides):
    with pytest.raises(ConfigError):
        load_settings(overrides=overrides)
