"""Empties the outbox: a thread beside each ingress replica that hands what is due to a few senders.

The claims of the store keep replicas apart, so that any number of dispatchers may run. A delivery is noted after the
receiver has answered: a process that dies in between leaves a lease that runs out, and the event is sent again under
the same id. That is what at least once means; receivers keep the ids they have seen.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from deployment.store.base import TaskStore
from deployment.webhooks.records import Delivery
from deployment.webhooks.schedule import is_delivered, retry_after
from deployment.webhooks.send import send
from deployment.webhooks.signature import signature_headers, webhook_secret
from hhray.settings import Settings
from hhray.tenancy import tenant_settings

logger = logging.getLogger("ray.serve")

LEASE_MARGIN_SECONDS = 30.0  # a claim outlives its attempt by this: a slow machine, a busy database
CLEANING_SECONDS = 60.0


class WebhookDispatcher:
    """Sends what is due. `secret` is the server's."""

    def __init__(self, settings: Settings, store: TaskStore, secret: bytes) -> None:
        self._settings, self._store, self._secret = settings, store, secret
        self._lock = threading.Lock()
        self._under_way = 0
        self._answered = threading.Event()

    def serve(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then what is being sent is waited for."""
        settings, cleaned = self._settings.webhooks, 0.0
        with ThreadPoolExecutor(settings.max_at_once, thread_name_prefix="webhook") as senders:
            while not stop.is_set():
                more = False
                try:
                    more = self._hand_out(senders)
                    if time.monotonic() - cleaned > CLEANING_SECONDS:
                        self._store.drop_webhooks(settings.keep_seconds)
                        cleaned = time.monotonic()
                except Exception:  # the loop must go on; what was claimed comes back when its lease is over
                    logger.exception("webhooks could not be handed out, trying again")
                (self._answered if more else stop).wait(settings.poll_seconds)
                self._answered.clear()

    def run_once(self) -> int:
        """Claim what is due and send it, one after the other; how many."""
        claimed = self._claim(self._settings.webhooks.max_at_once)
        for delivery in claimed:
            self._deliver(delivery)
        return len(claimed)

    def _hand_out(self, senders: ThreadPoolExecutor) -> bool:
        """Claim as much as there are free senders; whether it is worth while to look again when one of them is."""
        with self._lock:
            places = self._settings.webhooks.max_at_once - self._under_way
        claimed = self._claim(places) if places else []
        with self._lock:
            self._under_way += len(claimed)
        for delivery in claimed:
            senders.submit(self._deliver_and_free, delivery)
        return bool(claimed) or not places

    def _claim(self, limit: int) -> list[Delivery]:
        settings = self._settings.webhooks
        lease_seconds = settings.timeout_seconds + LEASE_MARGIN_SECONDS
        return self._store.claim_webhooks(
            limit, lease_seconds, per_receiver=settings.per_receiver, per_tenant=settings.per_tenant
        )

    def _deliver_and_free(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except Exception:  # not noted: it comes back when its lease is over
            logger.exception("webhook %s: the outcome was not noted", delivery.delivery_id)
        finally:
            with self._lock:
                self._under_way -= 1
            self._answered.set()

    def _deliver(self, delivery: Delivery) -> None:
        """Send and note the outcome. Raises StoreUnavailable where that cannot be done."""
        settings, body = self._settings.webhooks, delivery.body.encode("utf-8")
        began = time.monotonic()
        headers = {"content-type": "application/json", **self._signed(delivery, body)}
        answer = send(delivery.url, headers, body, self._settings.media, settings.timeout_seconds)
        seconds = time.monotonic() - began
        retry = retry_after(
            delivery.delivery_id, delivery.tries, answer.status, delivery.waited_seconds, settings.window_seconds
        )
        self._store.webhook_answered(
            delivery.delivery_id, delivery.attempts, answer.status, answer.detail, seconds, retry
        )
        if not is_delivered(answer.status):
            then = "given up" if retry is None else f"again in {retry:.0f} s"
            logger.info("webhook %s: status %d, %s", delivery.delivery_id, answer.status, then)

    def _signed(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        generations = tenant_settings(self._settings.tenants, delivery.tenant).webhook_generations
        secrets = [webhook_secret(self._secret, delivery.tenant, generation) for generation in generations]
        return signature_headers(delivery.delivery_id, int(time.time()), body, secrets)
