"""When a delivery that failed is tried again. Pure functions; times are seconds."""

from __future__ import annotations

import hashlib

GONE = 410
FIRST_SECONDS = 5.0
LONGEST_SECONDS = 1800.0
JITTER = 0.2


def is_delivered(status: int) -> bool:
    """Whether an answer says that the receiver has the event."""
    return 200 <= status < 300


def retry_after(event_id: str, tries: int, status: int, waited_seconds: float, window_seconds: float) -> float | None:
    """How long after the failed try number `tries` (1 is the first) the next follows; None: it is given up.

    5 s, twice as long each time, at most half an hour, and up to a fifth more or less, so that events that failed
    together do not come back together. That is 12 tries in the 2 hours which the hosted queues in the field allow.

    Args:
        status: HTTP status of the answer, 0 if there was none; 410 Gone is the receiver's wish to hear no more.
        waited_seconds: since the event, or since its redelivery was asked for.
        window_seconds: no try is begun later than this.
    """
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(tries - 1, 32))
    seconds *= 1 + JITTER * (2 * _share(f"{event_id}:{tries}") - 1)
    return None if status == GONE or waited_seconds + seconds > window_seconds else seconds


def _share(text: str) -> float:
    """A number from 0 to 1 that looks random and is the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
