"""One network's training: steps, how far they have come, and the file it can be taken up from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hhray.errors import ConfigError

WARMING = 0.01  # share of a course in which the rate rises
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's, in its own words
Loss = Callable[[Generator], Tensor]


@dataclass(slots=True, eq=False)
class Course:
    """A network, what it is trained to make small, and the rate at its fastest; `loss` draws its data from `rng`."""

    name: str
    network: nn.Module
    loss: Loss
    rate: float
    seed: int
    steps: int = 0
    seconds: float = 0.0
    optimizer: torch.optim.Adam = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate)

    def step(self, share_done: float) -> float:
        """One batch; `share_done` of the course, 0 to 1, sets the rate. Returns the loss."""
        rate = self.rate * min(1.0, share_done / WARMING + 0.01) * (0.5 + 0.5 * math.cos(math.pi * share_done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # the data of a step depend on its number alone: a course that is taken up again goes on as it would have
        loss = self.loss(np.random.default_rng([self.seed, self.steps]))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        return float(loss.detach())

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and figures to take it up from."""
        tensors = {f"{self.name}|{key}": value for key, value in self.network.state_dict().items()}
        for key, parameter in self.network.named_parameters():
            for moment in MOMENTS if parameter in self.optimizer.state else ():
                tensors[f"{self.name}|{key}|{moment}"] = self.optimizer.state[parameter][moment]
        return tensors, {f"{self.name}|steps": str(self.steps), f"{self.name}|seconds": repr(self.seconds)}

    def restore(self, tensors: dict[str, Tensor], figures: dict[str, str]) -> None:
        """The other way round."""
        self.steps, self.seconds = int(figures[f"{self.name}|steps"]), float(figures[f"{self.name}|seconds"])
        self.network.load_state_dict({key: tensors[f"{self.name}|{key}"] for key in self.network.state_dict()})
        for key, parameter in self.network.named_parameters():
            if f"{self.name}|{key}|{MOMENTS[0]}" in tensors:
                moments = {moment: tensors[f"{self.name}|{key}|{moment}"] for moment in MOMENTS}
                self.optimizer.state[parameter] = {"step": torch.tensor(float(self.steps)), **moments}


def save_courses(courses: list[Course], path: Path) -> None:
    """Write the state of all to one file; a file that is half written never takes its place."""
    tensors: dict[str, Tensor] = {}
    figures: dict[str, str] = {}
    for course in courses:
        more, known = course.state()
        tensors |= more
        figures |= known
    partial = path.with_suffix(".partial")
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, partial, figures)
    partial.replace(path)


def restore_courses(courses: list[Course], path: Path) -> None:
    """Take all up from a file of save_courses.

    Raises:
        ConfigError: the file is damaged, or of other networks.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors, figures = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        for course in courses:
            course.restore(tensors, figures)
    except (SafetensorError, OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"training cannot be taken up from {path}; remove it to begin anew: {error}") from error
