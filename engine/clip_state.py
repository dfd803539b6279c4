"""What denoising changes, as a value: what ranks that go on with a batch need from those that made the steps before.

Everything else (texts, pictures, segments, held sound, positions) follows from the jobs, and is on every rank that
began the batch. Between two ranks the state goes as two vectors: a head of uint8, whose length both know, and
a body of float32, whose length the head says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.samplers.base import SolverState

NUMBER_BYTES = 8
PASS_NUMBERS = 3  # pass, next step, whether there is sound of the base
LATENT_NUMBERS = 2  # order of the last solver step, tensors remembered

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LatentState:
    """A latent between two steps, and what its solver remembers."""

    latent: Tensor
    solver: SolverState

    def to(self, device: torch.device) -> LatentState:
        """The same on a device; itself where it is there."""
        if self.latent.device == device:
            return self
        return LatentState(
            self.latent.to(device),
            SolverState(self.solver.order, tuple(tensor.to(device) for tensor in self.solver.tensors)),
        )


@dataclass(frozen=True, slots=True)
class ClipState:
    """A batch between two steps of pass `pass_index`, of which `next_step` is next.

    `latents` are video and audio of each clip in turn, float32; `noise` the states of the clips' generators, uint8;
    `base_audios`, [A, 64], the finished sound of the base pass, none while that runs.
    """

    pass_index: int
    next_step: int
    latents: tuple[LatentState, ...]
    noise: tuple[Tensor, ...]
    base_audios: tuple[Tensor, ...] = ()

    def on_host(self) -> ClipState:
        """A copy in host memory that later steps do not touch."""
        latents = tuple(
            LatentState(
                one.latent.to("cpu", copy=True),
                SolverState(one.solver.order, tuple(tensor.to("cpu", copy=True) for tensor in one.solver.tensors)),
            )
            for one in self.latents
        )
        audios = tuple(audio.to("cpu", copy=True) for audio in self.base_audios)
        return ClipState(self.pass_index, self.next_step, latents, tuple(one.clone() for one in self.noise), audios)

    def head(self) -> Tensor:
        """The numbers and the generators' states: uint8, on the CPU."""
        numbers = [self.pass_index, self.next_step, int(bool(self.base_audios))]
        for one in self.latents:
            numbers += [one.solver.order, len(one.solver.tensors)]
        return torch.cat([torch.tensor(numbers, dtype=torch.int64).view(torch.uint8), *self.noise])

    def body(self) -> Tensor:
        """The latents: float32, on their device."""
        parts = [part for one in self.latents for part in (one.latent, *one.solver.tensors)]
        return torch.cat([part.flatten() for part in (*parts, *self.base_audios)])


@dataclass(frozen=True, slots=True)
class StateForm:
    """What two ranks know of a state beforehand: of every pass the shapes of its latents, video and audio of each clip
    in turn; and the lengths of the noise generators' states."""

    latent_shapes: tuple[tuple[Shape, ...], ...]
    noise_lengths: tuple[int, ...]

    @property
    def head_length(self) -> int:
        """Bytes of a head."""
        return self._num_numbers * NUMBER_BYTES + sum(self.noise_lengths)

    def body_length(self, head: Tensor) -> int:
        """Numbers of the body that belongs to a head."""
        return sum(math.prod(shape) for shape in self._shapes(self._numbers(head)))

    def state(self, head: Tensor, body: Tensor) -> ClipState:
        """The state of a head (uint8, on the CPU) and its body (float32); latents are views of the body."""
        numbers = self._numbers(head)
        noise = torch.split(head[self._num_numbers * NUMBER_BYTES :], list(self.noise_lengths))
        shapes = list(self._shapes(numbers))
        parts = torch.split(body, [math.prod(shape) for shape in shapes])
        tensors = iter([part.view(shape) for part, shape in zip(parts, shapes, strict=True)])
        latents = []
        for order, count in _pairs(numbers[PASS_NUMBERS:]):
            latent = next(tensors)
            latents.append(LatentState(latent, SolverState(order, tuple(next(tensors) for _ in range(count)))))
        return ClipState(numbers[0], numbers[1], tuple(latents), tuple(part.clone() for part in noise), tuple(tensors))

    @property
    def _num_numbers(self) -> int:
        return PASS_NUMBERS + LATENT_NUMBERS * len(self.latent_shapes[0])

    def _numbers(self, head: Tensor) -> list[int]:
        numbers: list[int] = head[: self._num_numbers * NUMBER_BYTES].clone().view(torch.int64).tolist()
        return numbers

    def _shapes(self, numbers: Sequence[int]) -> Iterator[Shape]:
        """Of all tensors of a body, in order."""
        shapes = self.latent_shapes[numbers[0]]
        for shape, (_, count) in zip(shapes, _pairs(numbers[PASS_NUMBERS:]), strict=True):
            for _ in range(1 + count):
                yield shape
        if numbers[2]:
            yield from shapes[1::2]


def _pairs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(numbers[::2], numbers[1::2], strict=True)
