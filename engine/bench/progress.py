"""Progress on stderr: a bar a stage on a terminal, a line a stage elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress

from engine.bench.denoising import OnStep


class Told:
    """Shows stages as they are measured; with `shown` false nothing, for ranks other than the first."""

    def __init__(self, *, shown: bool = True) -> None:
        self._console = Console(stderr=True, quiet=not shown)
        self._bar = Progress(console=self._console, disable=not self._console.is_terminal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str, steps: int) -> OnStep:
        """A stage begins; call what is returned after each of its steps."""
        task = self._bar.add_task(name, total=steps)
        if not self._console.is_terminal:
            self._console.print(f"measuring: {name}", markup=False)
        return lambda: self._bar.advance(task)
