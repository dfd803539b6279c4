"""What people see of the verbs: tables on stdout, progress on stderr. Text from a server is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hhray.client_view import TaskView
from hhray.errors import ClientError
from hhray.tasks import Stage, TaskState


def printable(text: str) -> str:
    """One line without control characters, so that a message cannot steer a terminal or forge a second line."""
    return "".join(char if char.isprintable() else " " for char in text)


def result_console() -> Console:
    """Stdout; wide enough for whole ids where there is no terminal to fit into."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text cells."""
    made = Table(*columns)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def stage_table(stages: dict[str, float]) -> Table:
    """Seconds per stage in the order they are run, and the service time: their sum without the queue wait."""
    order = [stage.value for stage in Stage]
    known = sorted(stages, key=lambda name: order.index(name) if name in order else len(order))
    service = sum(seconds for name, seconds in stages.items() if name != Stage.QUEUE_WAIT)
    made = Table("stage", "seconds")
    made.columns[1].justify = "right"
    for name in known:
        made.add_row(Text(printable(name)), f"{stages[name]:.3f}")
    made.add_section()
    made.add_row("service time", f"{service:.3f}")
    return made


class ClipProgress:
    """A bar on stderr that follows one clip, with its stage, its place in the queue and when it is expected; without a
    terminal, a line for every change of state or stage."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[expected]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("waiting for the server", total=1.0, expected="")
        self._said = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, view: TaskView) -> None:
        """Show this view; to be passed to `Client.wait` as `on_change`."""
        self._say(_describe(view))
        completed = 1.0 if view.state is TaskState.SUCCEEDED else view.progress
        self._bar.update(self._task, completed=completed, expected=expected(view))

    def trouble(self, error: ClientError) -> None:
        """Show that the server does not answer at the moment; to be passed as `on_trouble`."""
        self._say(f"trying again: {error.message}")

    def _say(self, text: str) -> None:
        line = printable(text)
        self._bar.update(self._task, description=line)
        if line != self._said and not self._console.is_terminal:
            self._console.print(Text(line), soft_wrap=True)
        self._said = line


def _describe(view: TaskView) -> str:
    if view.state is TaskState.PENDING and view.queue_position is not None:
        return f"{view.state}, {view.queue_position} ahead"
    parts = [str(view.state)]
    parts += [view.stage] if view.stage and not view.is_over else []
    parts += [f"attempt {view.attempt}"] if view.attempt > 1 else []
    return ", ".join(parts)


def expected(view: TaskView) -> str:
    """When the server expects the end, and how far off that may be; empty where it does not say."""
    if view.eta_seconds is None or view.is_over:
        return ""
    error = "" if view.eta_error_seconds is None else f" ± {view.eta_error_seconds:.0f} s"
    return f"about {view.eta_seconds:.0f} s{error} to go"
