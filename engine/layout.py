"""The layout of a block's ranks, by the name that engine code knows it by; settings and memory plans use it too."""

from hhray.parallel_layout import ParallelLayout, possible_layouts, ulysses_degrees

__all__ = ["ParallelLayout", "possible_layouts", "ulysses_degrees"]
