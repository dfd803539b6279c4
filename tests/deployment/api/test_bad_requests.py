"""Thousands of bad requests to a real server: no 5xx, no hang, nothing left undone, no memory kept."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bad_requests import BadRequest, bad_request

SEED = 20261122
AT_ONCE = 24
ANSWER_SECONDS = 60.0
NO_HTTP = b"Invalid HTTP request received."  # uvicorn's own answer to what is no HTTP
LEFT, CLOSED, HUNG = "left", "closed", "hung"


@pytest.fixture
def impatient(serve_with):
    """A server that does not wait long for the rest of a body; in memory, where a busy disk does not decide."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home,
        serve_with(data_dir=home, http={"body_idle_seconds": 0.5}) as live,
    ):
        yield live


async def exchange(port: int, request: BadRequest) -> tuple[int | str, bytes]:
    """The status and the body, or what became of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                for piece in request.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(request.pause_seconds)
            except ConnectionError:
                pass  # answered before the body was through; the answer is still to be read
            if request.leaves:
                return LEFT, b""
            answer = await reader.read(-1)
    except TimeoutError:
        return HUNG, b""
    except OSError:
        return CLOSED, b""
    finally:
        writer.close()
    return parsed(answer)


def parsed(answer: bytes) -> tuple[int | str, bytes]:
    """Status and body of the first final answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return parsed(body)
    if not head.startswith(b"HTTP/1.1 "):
        return CLOSED, answer
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    return int(head.split(b" ", 2)[1]), body[: int(length[1])] if length else body


async def send_all(port: int, indices: range, outcomes: Counter, accepted: list[str]) -> None:
    """Send the requests of these numbers, some at a time; outcomes are counted, the accepted tasks noted."""
    waiting = iter(indices)

    async def sender() -> None:
        for index in waiting:
            request = bad_request(SEED, index)
            outcome, body = await exchange(port, request)
            outcomes[outcome] += 1
            if isinstance(outcome, str):
                assert outcome != HUNG, f"request {index} ({request.kind}) was not answered"
                assert request.leaves or not body, (index, request.kind, body)
                continue
            assert outcome < 500, f"request {index} ({request.kind}): {outcome} {body[:300]!r}"
            note(index, request, outcome, body, accepted)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(sender())


def note(index: int, request: BadRequest, status: int, body: bytes, accepted: list[str]) -> None:
    """Refusals are in a dialect's shape; the ids of accepted creates are kept."""
    if not body or body == NO_HTTP:  # HEAD, or what no application sees
        return
    text = body if body.startswith((b"{", b"#")) else body.partition(b"\r\n")[2].rpartition(b"\r\n0")[0]
    if status >= 400:
        assert text.startswith(b"{"), (index, request.kind, body[:300])
        answer = json.loads(text)
        assert answer.get("message") or answer["error"]["message"], (index, request.kind)
        assert b"Traceback" not in body
    elif request.pieces[0].startswith(b"POST") and b'"task_id"' in body:
        accepted.append(json.loads(text)["output"]["task_id"])


@contextmanager
def fetching(live):
    """The stage that fetches media runs, as beside a real ingress."""
    stop = threading.Event()
    thread = threading.Thread(target=live.intake.serve, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60)


def run(live, count: int, every: int) -> dict[str, object]:
    """All requests, then the end of everything that was accepted; what was seen, memory in MiB among it."""
    port, outcomes, accepted, memory = int(live.url.rpartition(":")[2]), Counter(), [], []
    with fetching(live):
        began = time.monotonic()
        for first in range(0, count, every):
            asyncio.run(send_all(port, range(first, min(first + every, count)), outcomes, accepted))
            gc.collect()
            memory.append(round(psutil.Process(os.getpid()).memory_info().rss / 2**20, 1))
        seconds = time.monotonic() - began
        ended = end_all(live, set(accepted))
    depth = live.store.depth()
    return {
        "requests": sum(outcomes.values()),
        "seconds": round(seconds, 1),
        "outcomes": {str(outcome): number for outcome, number in sorted(outcomes.items(), key=str)},
        "accepted": len(set(accepted)),
        "ended": dict(ended),
        "not_terminal": depth.queued + depth.running,
        "memory_mib": memory,
    }


def end_all(live, accepted: set[str]) -> Counter:
    """Cancel what still waits, unseen creates of clients that left among it; the states of all that was accepted."""
    headers = {"authorization": "Bearer any"}
    waiting = {"status": "PENDING", "page_size": 100}
    while rows := live.client.get("/api/v1/tasks", params=waiting, headers=headers).json()["data"]:
        for row in rows:
            live.client.post(f"/api/v1/tasks/{row['task_id']}/cancel", headers=headers)
    return Counter(live.get(task_id)["output"]["task_status"] for task_id in accepted)


def check(seen: dict, count: int) -> None:
    assert seen["requests"] == count
    assert seen["outcomes"].get("429", 0) <= 0.01 * count
    assert seen["not_terminal"] == 0
    assert set(seen["ended"]) <= {"CANCELED", "FAILED"}
    assert sum(seen["ended"].values()) == seen["accepted"]
    assert seen["accepted"] >= 0.01 * count, (
        "some were to be accepted: else the rest may be refused for a common reason"
    )
    assert {"200", "400", "401", "403", "404", "405"} - {"401"} <= set(seen["outcomes"])


def test_a_thousand_bad_requests_harm_nothing(impatient):
    seen = run(impatient, 1000, every=250)
    check(seen, 1000)
    assert seen["memory_mib"][-1] - seen["memory_mib"][0] < 60


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_ten_thousand_bad_requests_harm_nothing(impatient, keep_proof):
    seen = run(impatient, 10_000, every=1000)
    keep_proof("bad_requests", {"command": "pytest -m proof tests/deployment/api/test_bad_requests.py", **seen})
    check(seen, 10_000)
    assert seen["memory_mib"][-1] - seen["memory_mib"][4] < 16, "flat: the second half keeps nothing"


@pytest.mark.parametrize("sent", [b"", b'{"model": '])
def test_a_body_that_stands_still_is_answered_and_the_connection_ends(serve_with, sent):
    head = (
        b"POST /api/v1/services/aigc/video-generation/video-synthesis HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"X-DashScope-Async: enable\r\nAuthorization: Bearer any\r\nContent-Length: 500\r\nConnection: close\r\n\r\n"
    )

    async def wait(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + sent)
        answer = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
        return answer

    with serve_with(http={"body_idle_seconds": 0.2}) as live:
        answer = asyncio.run(wait(int(live.url.rpartition(":")[2])))
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "RequestTimeOut"
