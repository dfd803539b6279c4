"""A training run's state: float32 weights, their running average, and the optimizer's moments. Kept in two files, so
that a run goes on where it was stopped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hhray.errors import ConfigError

TENSORS, FACTS = "state.safetensors", "state.json"
AVERAGE = 0.995  # kept of the average at each step, once there have been many
CLIP = 1.0
BETAS = (0.9, 0.98)
EPSILON = 1e-8


class TrainingState:
    """AdamW on float32 copies of a model's weights, which the model itself may hold in bfloat16.

    `held` names weights rows of which stay as they are: name -> bool of the rows.
    """

    def __init__(self, model: nn.Module, held: dict[str, Tensor] | None = None) -> None:
        self.step = 0
        self._model, self._held = model, held or {}
        self._weights = dict(model.named_parameters())
        self.masters = {name: weight.detach().float().clone() for name, weight in self._weights.items()}
        self.average = {name: master.clone() for name, master in self.masters.items()}
        self._first = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        self._second = {name: torch.zeros_like(master) for name, master in self.masters.items()}

    @torch.no_grad()
    def update(self, rate: float) -> float:
        """Take a step with the gradients the model has; the norm of these before clipping."""
        gradients = {name: weight.grad.float() for name, weight in self._weights.items() if weight.grad is not None}
        for name, rows in self._held.items():
            gradients[name][rows.to(gradients[name].device)] = 0
        norm = math.sqrt(sum(float(one.square().sum()) for one in gradients.values()))
        self.step += 1
        kept = min(AVERAGE, (1 + self.step) / (10 + self.step))
        first_bias, second_bias = (1 - beta**self.step for beta in BETAS)
        clip = min(1.0, CLIP / (norm + EPSILON))
        for name, raw in gradients.items():
            gradient = raw * clip
            master, first, second = self.masters[name], self._first[name], self._second[name]
            first.lerp_(gradient, 1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            master.addcdiv_(first / first_bias, (second / second_bias).sqrt_().add_(EPSILON), value=-rate)
            self.average[name].lerp_(master, 1 - kept)
            self._weights[name].copy_(master)
        self._model.zero_grad()
        return norm

    @torch.no_grad()
    def show(self, weights: dict[str, Tensor]) -> None:
        """Put these weights (the average, or the masters again) into the model."""
        for name, weight in self._weights.items():
            weight.copy_(weights[name])

    @torch.no_grad()
    def begin(self, weights: dict[str, Tensor]) -> None:
        """Begin from these weights; what is not there stays as it is.

        Raises:
            ConfigError: none of them, or one of another shape.
        """
        known = {name: one for name, one in weights.items() if name in self.masters}
        wrong = [name for name, one in known.items() if one.shape != self.masters[name].shape]
        if wrong or not known:
            raise ConfigError(
                f"these are weights of another network: {', '.join(wrong[:3]) or 'no name is known'}; "
                "expected those of a network of the same size"
            )
        for name, one in known.items():
            self.masters[name].copy_(one)
            self.average[name].copy_(one)
        self.show(self.masters)

    def save(self, folder: Path, facts: dict[str, object]) -> None:
        """Write both files, each whole or not at all."""
        groups = {"weight": self.masters, "average": self.average, "first": self._first, "second": self._second}
        tensors = {f"{group}:{name}": one for group, held in groups.items() for name, one in held.items()}
        save_file(tensors, folder / f"{TENSORS}.part")
        (folder / f"{FACTS}.part").write_text(json.dumps({"step": self.step, **facts}))
        for name in (TENSORS, FACTS):
            (folder / f"{name}.part").replace(folder / name)

    def load(self, folder: Path) -> dict[str, object]:
        """Go on from the files in `folder`; what was said beside the step.

        Raises:
            ConfigError: they are of another network.
        """
        tensors = load_file(folder / TENSORS)
        groups = {"weight": self.masters, "average": self.average, "first": self._first, "second": self._second}
        for group, held in groups.items():
            for name, one in held.items():
                stored = tensors.get(f"{group}:{name}")
                if stored is None or stored.shape != one.shape:
                    raise ConfigError(
                        f"{folder / TENSORS} is of another network: {group}:{name} does not fit; "
                        "train into another folder, or with the same size"
                    )
                one.copy_(stored)
        self.show(self.masters)
        facts: dict[str, object] = json.loads((folder / FACTS).read_text())
        self.step = int(str(facts["step"]))
        return facts
