"""The client's verbs: submit, wait, get, cancel, list. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from hhray.campaign_verbs import VERBS as CAMPAIGN_VERBS
from hhray.client import Client
from hhray.client_media import default_model
from hhray.client_options import add_server_options, add_wait_options, configure_submit
from hhray.client_view import TaskRow, TaskView
from hhray.console import ClipProgress, printable, result_console, stage_table, table
from hhray.settings import load_settings
from hhray.tasks import TaskState
from hhray.verb import Verb


def open_client(args: argparse.Namespace) -> Client:
    """The client that `--url` and `--api-key` name; what they leave out comes from the settings.

    Raises:
        ConfigError: the URL or the settings do not fit.
    """
    settings = load_settings().client
    return Client(args.url or settings.url, args.api_key or settings.api_key.get_secret_value())


def _run_submit(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        task_id = client.submit(
            args.model or default_model(args.image, args.reference, args.video),
            args.prompt,
            image=args.image,
            references=args.reference,
            video=args.video,
            resolution=args.resolution,
            ratio=args.ratio,
            duration=args.duration,
            seed=args.seed,
            language=args.language,
            dialogue=args.dialogue,
            audio_setting=args.audio_setting,
            strict=args.strict,
            deadline_seconds=args.deadline,
        )
        if args.wait or args.out:
            return _wait_and_show(client, task_id, args)
    _show({"task_id": task_id}, args.json, task_id)
    return 0


def _configure_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="ID")
    add_wait_options(parser)
    add_server_options(parser)


def _run_wait(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        return _wait_and_show(client, args.task_id, args)


def _wait_and_show(client: Client, task_id: str, args: argparse.Namespace) -> int:
    with ClipProgress() as progress:
        view = client.wait(task_id, progress.update, args.timeout, on_trouble=progress.trouble)
    clip = client.download(view, args.out) if args.out else None
    if args.json:
        _show(view_as_json(view) | ({"clip": str(clip.resolve())} if clip else {}), True, "")
        return 0
    console = result_console()
    if view.stages:
        console.print(stage_table(view.stages))
    if view.notice:
        console.print(Text(printable(view.notice)))
    _show({}, False, str(clip) if clip else view.video_url)
    return 0


def _configure_get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="ID")
    add_server_options(parser)


def _run_get(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        view = client.get(args.task_id)
    if args.json:
        _show(view_as_json(view), True, "")
        return 0
    facts = {name: value for name, value in view_as_json(view).items() if name != "stages" and value not in ("", None)}
    console = result_console()
    console.print(table(("field", "value"), [(name, str(value)) for name, value in facts.items()]))
    if view.stages:
        console.print(stage_table(view.stages))
    return 0


def _configure_cancel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="ID")
    parser.add_argument("--running", action="store_true", help="also when it runs already (an administrator's key)")
    add_server_options(parser)


def _run_cancel(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        client.cancel(args.task_id, args.running)
    _show({"task_id": args.task_id, "cancel": "accepted"}, args.json, f"cancel of {args.task_id} accepted")
    return 0


def _configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--status", default="", choices=[state.value for state in TaskState])
    parser.add_argument("--model", default="")
    parser.add_argument("--page", type=int, default=1)
    parser.add_argument("--page-size", type=int, default=10)
    add_server_options(parser)


def _run_list(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        page = client.list(args.status, args.model, args.page, args.page_size)
    if args.json:
        rows = [
            {
                "task_id": row.task_id,
                "state": row.state,
                "model": row.model,
                "submitted_at": row.submitted_at,
                "ended_at": row.ended_at,
            }
            for row in page.rows
        ]
        _show({"total": page.total, "page": page.page, "total_pages": page.total_pages, "tasks": rows}, True, "")
        return 0
    columns = ("task", "state", "model", "submitted", "seconds")
    result_console().print(table(columns, [_cells(row) for row in page.rows]))
    _show({}, False, f"page {page.page} of {page.total_pages}, {page.total} tasks")
    return 0


def _cells(row: TaskRow) -> tuple[str, ...]:
    submitted = "" if row.submitted_at is None else f"{datetime.fromtimestamp(row.submitted_at, UTC):%F %T} UTC"
    seconds = "" if row.submitted_at is None or row.ended_at is None else f"{row.ended_at - row.submitted_at:.1f}"
    return row.task_id, row.state, row.model, submitted, seconds


def view_as_json(view: TaskView) -> dict[str, Any]:
    """A view as the plain values that `--json` prints."""
    return {
        "task_id": view.task_id,
        "state": view.state.value,
        "progress": view.progress,
        "queue_position": view.queue_position,
        "stage": view.stage,
        "step": view.step,
        "steps": view.steps,
        "eta_seconds": view.eta_seconds,
        "eta_error_seconds": view.eta_error_seconds,
        "attempt": view.attempt,
        "submit_time": view.submit_time,
        "end_time": view.end_time,
        "code": view.code,
        "message": view.message,
        "notice": view.notice,
        "video_url": view.video_url,
        "stages": view.stages,
    }


def _show(values: dict[str, Any], as_json: bool, text: str) -> None:
    print(json.dumps(values) if as_json else printable(text))


VERBS = (
    Verb("submit", "create a task from a prompt, pictures or a video", configure_submit, _run_submit),
    Verb("wait", "wait for a task and download its clip", _configure_wait, _run_wait),
    Verb("get", "show a task", _configure_get, _run_get),
    Verb("cancel", "cancel a task", _configure_cancel, _run_cancel),
    Verb("list", "list tasks of the last day", _configure_list, _run_list),
    *CAMPAIGN_VERBS,
)
