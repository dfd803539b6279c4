"""Creates through Ray Serve, of the shipped ingress and of a bare endpoint that inserts the same row, in one run.

`python submit_speed.py DIRECTORY [--haproxy]` prints one JSON object. No engines: their clips would take the processor.
Ray reads its environment when it is imported, hence a process of its own for each proxy.
"""

# No postponed annotations here: Serve sends the class below to another process, where FastAPI reads its types.
import argparse
import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

CONNECTIONS = 16
CREATE = "/api/v1/services/aigc/video-generation/video-synthesis"
BODY = json.dumps(
    {
        "model": "happyhorse-1.0-t2v",
        "input": {"prompt": "a red ball rolls to the right, a low tone"},
        "parameters": {"resolution": "720P", "ratio": "16:9", "duration": 5, "seed": 7},
    }
).encode()


class Connection:
    """One kept connection; the next request goes out when the answer is in."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer any\r\nX-DashScope-Async: enable\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def create(self) -> None:
        """One create; raises unless it is answered with 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"refused: {head!r} {body[:300]!r}")

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def most(port: int, path: str, seconds: float) -> float:
    """Creates a second, as many at a time as there are connections."""
    connections = [Connection(port, path) for _ in range(CONNECTIONS)]
    end, count = time.monotonic() + seconds, 0
    began = time.monotonic()

    async def worker(connection: Connection) -> None:
        nonlocal count
        while time.monotonic() < end:
            await connection.create()
            count += 1

    await asyncio.gather(*(worker(one) for one in connections))
    for one in connections:
        one.close()
    return count / (time.monotonic() - began)


async def latencies(port: int, path: str, rate: float, seconds: float) -> list[float]:
    """Seconds of each create at a steady rate, from the moment it was due: waiting for a connection counts."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(4 * CONNECTIONS):
        free.put_nowait(Connection(port, path))
    took: list[float] = []
    began = time.monotonic()

    async def one(due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        connection = await free.get()
        await connection.create()
        took.append(time.monotonic() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(one(began + index / rate) for index in range(int(rate * seconds))))
    while not free.empty():
        free.get_nowait().close()
    return took


def bare_endpoint(settings: Any) -> Any:
    """The smallest FastAPI endpoint that stores a task."""
    from ray import serve

    from deployment.store import open_store
    from hhray.request import ClipRequest, Mode
    from hhray.tasks import NewTask

    app = FastAPI()

    @serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1}, name="Bare")
    @serve.ingress(app)
    class Bare:
        def __init__(self) -> None:
            self._store = open_store(settings)

        @app.post("/create")
        async def create(self, request: Request) -> dict[str, str]:
            prompt = (await request.json())["input"]["prompt"]
            clip = ClipRequest(model="happyhorse-1.0-t2v", mode=Mode.T2V, prompt=prompt)
            new = NewTask("bare", clip, "r", 1.0, True, str(uuid.uuid4()), 86400.0)
            return {"task_id": (await run_in_threadpool(self._store.create, new)).task_id}

    return Bare.bind()


def start(settings: Any, temporary: Path) -> None:
    """Ray, Serve, the shipped ingress at / and the bare endpoint at /bare."""
    import ray
    from ray import serve

    from deployment.ingress import ApiIngress
    from deployment.model_on_offer import model_on_offer
    from deployment.store import ready_store

    ready_store(settings)
    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        _temp_dir=str(temporary),
    )  # fmt: skip
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": settings.http.port})

    @serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
    class NoRouter:
        async def kick(self) -> None:
            """Taken and done with, as by a router that has nothing to plan."""

    ingress = serve.deployment(
        serve.ingress()(ApiIngress), max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1}
    )
    serve.run(ingress.bind(settings, model_on_offer(settings), NoRouter.bind()), name="hhray", route_prefix="/")
    serve.run(bare_endpoint(settings), name="bare", route_prefix="/bare")


async def measure(port: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Both in turn, so that what else the machine does meets both."""
    paths = {"bare": "/bare/create", "hhray": CREATE}
    rates: dict[str, list[float]] = {name: [] for name in paths}
    for path in paths.values():
        await most(port, path, 2.0)  # what is made at the first call
    for _ in range(rounds):
        for name, path in paths.items():
            rates[name].append(await most(port, path, seconds))
    found: dict[str, Any] = {f"{name}_per_second": [round(rate, 1) for rate in found] for name, found in rates.items()}
    found["ratio"] = round(sum(rates["hhray"]) / sum(rates["bare"]), 3)
    rate = statistics.mean(rates["hhray"]) / 2
    took = sorted(await latencies(port, CREATE, rate, 2 * seconds))
    return found | {
        "at_per_second": round(rate, 1),
        "creates_timed": len(took),
        **{f"p{p}_seconds": round(took[int(len(took) * p / 100)], 4) for p in (50, 90, 99)},
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--haproxy", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_ENABLE_HA_PROXY": "1" if args.haproxy else "0"})
    from deployment.local_server import free_port
    from hhray.settings import Settings

    settings = Settings(
        data_dir=str(args.directory / "home"),
        engine={"preset": "pico"},
        http={"port": free_port()},
        store={"max_queued": 10_000_000},
    )
    load = os.getloadavg()[0]
    start(settings, args.directory / "ray")
    found = asyncio.run(measure(settings.http.port, args.rounds, args.seconds))
    print(json.dumps({"proxy": "haproxy" if args.haproxy else "python", "load_before": round(load, 1), **found}))
    import ray
    from ray import serve

    serve.shutdown()
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
