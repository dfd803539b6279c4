"""`python -m engine.embedded.training.text_encoder --to FOLDER`: trains the small text encoder on the made world.

Prompts are drawn as they are needed and are never the same twice. FOLDER gets text.safetensors, and text-state.safetensors
from which the same command goes on. At the end it prints how often each group of meanings is right, with its Wilson
interval, on combinations of training and on combinations that are kept out of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.embedded.codecs.text import FILE, network_of
from engine.embedded.codecs.text_network import TextNetwork
from engine.embedded.training.text_data import Batch, accuracy, batches
from hhray.errors import ConfigError

STATE = "text-state.safetensors"
RATE, WARM_STEPS, LAST_SHARE = 2e-3, 200, 0.02
AVERAGE = 0.998  # of the weights that are kept, a step
SAVED_EVERY = 500  # steps


class TextTraining:
    """A network, the running average of its weights, and its optimiser after `step` of `steps` steps."""

    def __init__(self, seed: int, steps: int) -> None:
        torch.manual_seed(seed)
        self.seed, self.steps, self.step = seed, steps, 0
        self.network = TextNetwork()
        self.average = {name: weight.clone() for name, weight in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)

    def learn(self, batch: Batch) -> float:
        """One step; returns the loss before it, in nats a prompt."""
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * rate_share(self.step, self.steps)
        logits = self.network(batch.text, batch.lengths)
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
        state: dict[str, Tensor] = {"step": torch.tensor([self.step, self.steps, self.seed])}
        for name, weight in self.network.named_parameters():
            moments = self.optimiser.state[weight]
            state |= {f"network.{name}": weight.detach(), f"average.{name}": self.average[name]}
            state |= {f"{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq", "step")}
        _replace(state, folder / STATE)

    def resume(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            ConfigError: it is of another run: of other steps, another seed or another network.
        """
        state = load_file(path)
        mine = {name: weight.shape for name, weight in self.network.named_parameters()}
        run = state["step"].tolist() if "step" in state else []
        same = run[1:] == [self.steps, self.seed] and {
            name.removeprefix("network."): tensor.shape for name, tensor in state.items() if name.startswith("network.")
        } == mine
        if not same:
            raise ConfigError(f"{path}: is of another run (step, steps, seed: {run}); expected steps {self.steps} and "
                              f"seed {self.seed}; give those, or another folder")
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
    if step < WARM_STEPS:
        return (step + 1) / WARM_STEPS
    done = min(1.0, (step - WARM_STEPS) / max(1, steps - WARM_STEPS))
    return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * done)) / 2


def train(training: TextTraining, folder: Path, minutes: float, console: Console) -> None:
    """Train until the last step, or for so long; what was reached is saved in `folder`."""
    deadline = time.monotonic() + 60 * minutes
    losses: list[float] = []
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=training.steps, completed=training.step)
        for batch in batches(training.seed, training.step):
            if training.step >= training.steps or time.monotonic() > deadline:
                break
            losses.append(training.learn(batch))
            bar.update(task, completed=training.step, description=f"loss {losses[-1]:.3f}")
            if training.step % SAVED_EVERY == 0:
                training.save(folder)
                console.print(f"step {training.step}: loss {sum(losses) / len(losses):.4f}")
                losses.clear()
    training.save(folder)


def report(folder: Path, prompts: int, seed: int) -> None:
    """Print the table of accuracies of the weights in `folder`."""
    network = network_of(load_file(folder / FILE), folder / FILE).eval()
    for noisy in (False, True):
        for unseen in (False, True):
            sys.stdout.write(f"{'as typed' if noisy else 'as written'}, {'unseen' if unseen else 'seen'} combinations\n")
            for name, tally in accuracy(network, prompts, seed, unseen=unseen, noisy=noisy).items():
                sys.stdout.write(f"  {name:16} {tally}\n")


def main(argv: list[str] | None = None) -> int:
    """Train, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.text_encoder", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="of the weights and the state")
    parser.add_argument("--steps", type=int, default=12_000, help="of 64 prompts each (12000)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many; go on by the same command")
    parser.add_argument("--seed", type=int, default=0, help="of weights and prompts (0)")
    parser.add_argument("--prompts", type=int, default=2048, help="in each part of the table (2048)")
    arguments = parser.parse_args(argv)
    training = TextTraining(arguments.seed, arguments.steps)
    try:
        if (arguments.to / STATE).exists():
            training.resume(arguments.to / STATE)
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    train(training, arguments.to, arguments.minutes, Console(stderr=True))
    report(arguments.to, arguments.prompts, arguments.seed)
    return 0


def _replace(tensors: dict[str, Tensor], path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
