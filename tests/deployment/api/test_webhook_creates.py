"""Webhooks through the API: a create names a URL or its tenant does, and the end of the task arrives there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from deployment.keys import create_key, server_secret
from deployment.webhooks.dispatcher import WebhookDispatcher
from deployment.webhooks.records import DeliveryFilter
from deployment.webhooks.signature import webhook_secret
from webhook_receiver import receiving


def body(**parameters):
    wanted = {"resolution": "256P", "duration": 3, **parameters}
    return {"model": "happyhorse-1.0-t2v", "input": {"prompt": "a secret plan"}, "parameters": wanted}


def deliver(live, times=1):
    secret = server_secret(live.services.settings)
    dispatcher = WebhookDispatcher(live.services.settings, live.store, secret)
    assert dispatcher.run_once() == times
    return lambda tenant: Webhook(webhook_secret(secret, tenant, 1))


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


def test_a_create_names_who_is_told_of_its_end(serve_with, receiver):
    with serve_with(media={"allowed_private": (receiver.host,)}) as live:
        task_id = live.create_id(body(webhook_url=receiver.url()))
        silent = live.create_id(body())
        live.finish(task_id)
        live.finish(silent)
        check = deliver(live)
        ((_, headers, sent),) = receiver.got
        event = check("local").verify(sent, headers)
        assert (event["data"]["task_id"], event["data"]["task_status"]) == (task_id, "SUCCEEDED")
        assert event["data"]["contain_result"] is True
        assert b"secret plan" not in sent
        answer = live.get(task_id)
        assert answer["request_id"] != event["data"]["request_id"]  # that of the create
        assert event["data"]["end_time"] == answer["output"]["end_time"][:19]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://[64:ff9b::7f00:1]/",
        "https://hooks.example:8443/",
        "https://hooks.example/" + "x" * 2048,
        {"url": "https://hooks.example/"},
        "",
    ],
)
def test_a_url_that_must_not_be_called_is_refused_at_create(refusing, url):
    answer = refusing.create(body(webhook_url=url))
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidURL")
    assert answer.json()["message"].startswith("parameters.webhook_url: expected a ")


def test_two_tenants_are_told_of_their_own_tasks_only_each_signed_with_its_own_secret(
    serve_with, receiver, make_settings
):
    with receiving() as bobs:
        tenants = {"acme": {"webhook_url": receiver.url("/acme")}, "bob": {"webhook_url": bobs.url("/bob")}}
        groups = {"media": {"allowed_private": (receiver.host, bobs.host)}, "tenants": tenants}
        settings = make_settings(**groups)
        Path(settings.home).mkdir(exist_ok=True)
        keys = {name: create_key(settings.keys_file, server_secret(settings), name, False) for name in tenants}
        with serve_with(**groups) as live:
            made = {name: live.create_id(body(), key=key) for name, key in keys.items()}
            other = live.create_id(body(webhook_url=receiver.url("/asked")), key=keys["acme"])
            for task_id in (*made.values(), other):
                live.finish(task_id)
            check = deliver(live, times=3)
            assert {path: json.loads(sent)["data"]["task_id"] for path, _, sent in receiver.got} == {
                "/acme": made["acme"],
                "/asked": other,  # the request beats the tenant
            }
            ((path, headers, sent),) = bobs.got
            assert (path, json.loads(sent)["data"]["task_id"]) == ("/bob", made["bob"])
            check("bob").verify(sent, headers)
            with pytest.raises(WebhookVerificationError):
                check("acme").verify(sent, headers)
            assert [one.task_id for one in live.store.webhooks(DeliveryFilter(tenant="bob"))] == [made["bob"]]
