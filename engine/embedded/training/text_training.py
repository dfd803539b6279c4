"""One run of training of the small text encoder: what it has learned so far, one step more, and its files."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.embedded.codecs.text import FILE
from engine.embedded.codecs.text_network import TextNetwork
from engine.embedded.training.text_data import Batch
from hhray.errors import ConfigError

STATE = "text-state.safetensors"
RATE, WARM_STEPS, LAST_SHARE = 3e-3, 100, 0.02
AVERAGE = 0.995  # of the weights that are kept, a step


class TextTraining:
    """A network, the running average of its weights, and its optimiser after `step` of `steps` steps.

    `embedding`, `width` and `layers` are sizes of the network.
    """

    def __init__(self, seed: int, steps: int, embedding: int = 64, width: int = 96, layers: int = 2) -> None:
        torch.manual_seed(seed)
        self.seed, self.steps, self.step = seed, steps, 0
        self.network = TextNetwork(embedding, width, layers)
        self.average = {name: weight.clone() for name, weight in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )

    def learn(self, batch: Batch) -> float:
        """One step; returns the loss before it, in nats a prompt."""
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * rate_share(self.step, self.steps)
        logits = self.network(batch.words)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.right.flatten()) * batch.right.shape[1]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        kept = min(AVERAGE, self.step / (self.step + 10))
        for name, weight in self.network.state_dict().items():
            self.average[name].lerp_(weight, 1 - kept)
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """Weights and state; each file is replaced at once, so that an interruption leaves the last ones whole."""
        folder.mkdir(parents=True, exist_ok=True)
        _replace({name: weight.half() for name, weight in self.average.items()}, folder / FILE)
        state: dict[str, Tensor] = {"step": torch.tensor([self.step, self.seed])}
        for name, weight in self.network.named_parameters():
            moments = self.optimiser.state[weight]
            state |= {f"network.{name}": weight.detach(), f"average.{name}": self.average[name]}
            state |= {f"{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq", "step")}
        _replace(state, folder / STATE)

    def resume(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            ConfigError: it is of another seed or another network.
        """
        state = load_file(path)
        found = {name: tensor.shape for name, tensor in state.items() if name.startswith("network.")}
        mine = {f"network.{name}": weight.shape for name, weight in self.network.named_parameters()}
        run = state["step"].tolist() if "step" in state else []
        if found != mine or run[1:] != [self.seed]:
            raise ConfigError(
                f"{path}: is of another run (step and seed: {run}); expected seed {self.seed} and a network of these "
                "sizes; give that seed, or another folder"
            )
        self.step = run[0]
        with torch.no_grad():
            for name, weight in self.network.named_parameters():
                weight.copy_(state[f"network.{name}"])
                self.average[name] = state[f"average.{name}"]
                self.optimiser.state[weight] = {
                    key: state[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
                }


def rate_share(step: int, steps: int) -> float:
    """Share of the full learning rate: it rises, then falls along a cosine."""
    warm = min(WARM_STEPS, max(1, steps // 10))
    if step < warm:
        return (step + 1) / warm
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * done)) / 2


def _replace(tensors: dict[str, Tensor], path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    part.replace(path)
