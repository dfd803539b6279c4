"""Small draws from lists of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

Value = TypeVar("Value")

USUAL_SHARE = 0.4  # of names that are the first of their list


def pick(rng: Generator, values: Sequence[Value]) -> Value:
    """One of the values, each as likely."""
    return values[int(rng.integers(len(values)))]


def usual(rng: Generator, names: Sequence[Value]) -> Value:
    """Often the first name, else any."""
    return names[0] if rng.random() < USUAL_SHARE else pick(rng, names)


def sometimes(rng: Generator, share: float) -> bool:
    """True in this share of draws."""
    return bool(rng.random() < share)


def joined(*parts: str) -> str:
    """The parts that are not empty, with spaces between."""
    return " ".join(part for part in parts if part)
