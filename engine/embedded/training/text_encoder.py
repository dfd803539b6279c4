"""`python -m engine.embedded.training.text_encoder --to FOLDER`: trains the small text encoder on the made world.

Prompts are drawn as they are needed and are never the same twice. FOLDER gets text.safetensors, and
text-state.safetensors from which the same command goes on. At the end it prints how often each group of meanings is
right, with its Wilson interval, on combinations of training and on combinations that are kept out of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file

from engine.embedded.codecs.text import FILE, network_of
from engine.embedded.training.text_data import accuracy, batches
from engine.embedded.training.text_training import STATE, TextTraining
from hhray.errors import ConfigError

SAVED_EVERY = 100  # steps


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
            sys.stdout.write(
                f"{'as typed' if noisy else 'as written'}, {'unseen' if unseen else 'seen'} combinations\n"
            )
            for name, tally in accuracy(network, prompts, seed, unseen=unseen, noisy=noisy).items():
                sys.stdout.write(f"  {name:16} {tally}\n")


def main(argv: list[str] | None = None) -> int:
    """Train, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.text_encoder", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="of the weights and the state")
    parser.add_argument("--steps", type=int, default=2500, help="of 64 prompts each, 1/12 s each on one core (2500)")
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


if __name__ == "__main__":
    sys.exit(main())
