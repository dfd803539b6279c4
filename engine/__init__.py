"""One request to one clip on a group of ranks: the model, its samplers, codecs and the processes that host them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.clip import Clip
    from engine.pipeline import Pipeline

__all__ = ["Clip", "Pipeline"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute
    """`engine.Pipeline` and `engine.Clip`, imported when asked for: torch takes seconds."""
    if name == "Pipeline":
        from engine.pipeline import Pipeline  # noqa: PLC0415

        return Pipeline
    if name == "Clip":
        from engine.clip import Clip  # noqa: PLC0415

        return Clip
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
