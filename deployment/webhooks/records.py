"""What is kept of a webhook: the delivery, and each attempt at it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    """WAITING is due at some time, or being sent; the others are ends, which a redelivery may take back."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one receiver. Times are seconds since the epoch by the store's clock.

    `delivery_id` is the event's id, the same in every attempt and redelivery. `attempts` counts all of them and is the
    fence of a claim; `tries` counts those since the event, or since it was asked for again. `waited_seconds` is how
    long that is ago, at the time of a claim. `last_status` is the HTTP status of the last answer, 0: none came.
    """

    delivery_id: str
    task_id: str
    tenant: str
    url: str
    body: str
    state: DeliveryState
    attempts: int
    tries: int
    created_at: float
    due_at: float
    ended_at: float | None = None
    last_status: int = 0
    waited_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt: when its outcome was noted, how long it took, and what came back.

    `status` is the HTTP status, 0: no answer. `detail` says what was wrong, or is the beginning of the receiver's
    answer, at most 200 characters.
    """

    attempt: int
    at: float
    seconds: float
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; None: all."""

    tenant: str | None = None
    task_id: str | None = None
    state: DeliveryState | None = None
    limit: int = 100
