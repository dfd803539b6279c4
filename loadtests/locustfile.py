"""Locust users that make clips: create, poll, download, again. Run it through `python -m loadtests.run`, or with Locust
itself: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8000`.

Beside Locust's table of requests, every clip is an entry of type CLIP, with its end-to-end milliseconds.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from random import Random
from typing import Any

from locust import HttpUser, constant, events, task

from hhray.geometry import DURATIONS, Resolution
from loadtests.summary import Recorder
from loadtests.workload import Shape, choose_shape, create_body

CREATE_PATH = "/api/v1/services/aigc/video-generation/video-synthesis"
POLL_SECONDS = 0.25
MAX_PAUSE_SECONDS = 10.0
REQUEST_SECONDS = 30.0
_OK = 200
_REPEATED = (0, 429, 500, 502, 503, 504)  # 0: no answer at all


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator, unused-ignore]
def add_options(parser: Any) -> None:  # noqa: ANN401 - Locust has no types
    """Options of this file, shown by `locust -f ... --help`; none is read from the environment."""
    parser.add_argument("--resolution", default="", choices=["", *(tier.value for tier in Resolution)])
    parser.add_argument("--duration", type=int, default=0, choices=[0, *DURATIONS])
    parser.add_argument("--api-key", default="", is_secret=True, include_in_web_ui=False)
    parser.add_argument("--summary-json", default="", metavar="FILE", help="write the summary to this file")


@events.test_start.add_listener  # type: ignore[untyped-decorator, unused-ignore]
def start_recording(environment: Any, **_: Any) -> None:  # noqa: ANN401 - Locust has no types
    environment.clip_recorder = Recorder(time.monotonic())


@events.test_stop.add_listener  # type: ignore[untyped-decorator, unused-ignore]
def report(environment: Any, **_: Any) -> None:  # noqa: ANN401 - Locust has no types
    """All users have stopped: print the summary; nothing is left out of it."""
    summary = environment.clip_recorder.summary(time.monotonic())
    print("\n".join(summary.lines()), flush=True)
    file = environment.parsed_options.summary_json
    if file:
        Path(file).write_text(json.dumps(summary.as_json()), encoding="utf-8")


class ClipUser(HttpUser):  # type: ignore[misc, unused-ignore]
    """Asks for one clip after another, and takes each home."""

    wait_time = constant(0)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.recorder: Recorder = self.environment.clip_recorder
        self.random = Random(uuid.uuid4().int)  # noqa: S311 - draws a workload, no secrets
        self.resolution = Resolution(options.resolution) if options.resolution else None
        self.duration: int | None = options.duration or None
        self.auth = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}

    @task  # type: ignore[untyped-decorator, unused-ignore]
    def make_clip(self) -> None:
        shape = choose_shape(self.random, self.resolution, self.duration)
        began = time.monotonic()
        task_id = self._create(shape)
        if task_id is None:
            return
        self.recorder.acknowledged(task_id)
        reason = self._bring_home(task_id)
        seconds = time.monotonic() - began
        self.environment.events.request.fire(
            request_type="CLIP",
            name=str(shape),
            response_time=seconds * 1000,
            response_length=0,
            exception=RuntimeError(reason) if reason else None,
            context={},
        )
        if reason:
            self.recorder.failed(task_id, reason)
        else:
            self.recorder.delivered(task_id, seconds)

    def _create(self, shape: Shape) -> str | None:
        headers = {**self.auth, "x-dashscope-async": "enable", "idempotency-key": str(uuid.uuid4())}
        response = self.client.post(
            CREATE_PATH,
            json=create_body(self.random, shape),
            headers=headers,
            name="create",
            timeout=REQUEST_SECONDS,
            allow_redirects=False,
        )
        if response.status_code != _OK:
            self.recorder.error(f"create: HTTP {response.status_code}")
            time.sleep(_pause_seconds(response))
            return None
        task_id = _output(response).get("task_id")
        if not task_id:
            self.recorder.error("create: the answer has no task id")
        return task_id

    def _bring_home(self, task_id: str) -> str:
        """Poll and download; what went wrong, empty when nothing did."""
        while True:
            response = self.client.get(
                f"/api/v1/tasks/{task_id}",
                headers=self.auth,
                name="poll",
                timeout=REQUEST_SECONDS,
                allow_redirects=False,
            )
            if response.status_code == _OK:
                output = _output(response)
                state = output.get("task_status", "without a state")
                if state == "SUCCEEDED":
                    return self._download(output.get("video_url", ""))
                if state not in ("PENDING", "RUNNING"):
                    return f"task {state} {output.get('code', '')}"
                time.sleep(POLL_SECONDS)
            elif response.status_code in _REPEATED:
                self.recorder.error(f"poll: HTTP {response.status_code}")
                time.sleep(_pause_seconds(response))
            else:
                return f"poll: HTTP {response.status_code}"

    def _download(self, url: str) -> str:
        """The signed link needs no key."""
        response = self.client.get(url, name="download", timeout=REQUEST_SECONDS, allow_redirects=False)
        if response.status_code != _OK:
            return f"download: HTTP {response.status_code}"
        return "" if response.content[4:8] == b"ftyp" else "download: not an MP4 file"


def _output(response: Any) -> dict[str, Any]:  # noqa: ANN401 - Locust has no types
    try:
        return dict(response.json()["output"])
    except (KeyError, TypeError, ValueError):
        return {}


def _pause_seconds(response: Any) -> float:  # noqa: ANN401 - Locust has no types
    asked = (response.headers or {}).get("retry-after", "")
    return min(float(asked), MAX_PAUSE_SECONDS) if asked.isdigit() else 1.0
