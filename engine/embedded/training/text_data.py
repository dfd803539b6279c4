"""Batches of prompts with what they mean, and how well a network understands prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from engine.embedded.codecs.text import features, padded, patterns
from engine.embedded.codecs.text_network import HEADS, TextNetwork
from engine.embedded.codecs.text_reading import read
from engine.embedded.meaning import CHANGE, NAMES, ON, Wish, choices
from engine.embedded.scoring.wilson import Tally
from engine.embedded.training.handwriting import typed
from engine.embedded.wishes import ask

BATCH = 64
POOL_BATCHES = 8  # drawn together, so that prompts of a batch can be about as long as one another


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts int64 [B, words, parts] and the right output of each head int64 [B, heads]."""

    words: Tensor
    right: Tensor


def batches(seed: int, first: int = 0) -> Iterator[Batch]:
    """Batches without end, from the number `first` on; the same for the same seed."""
    pool_number, skipped = divmod(first, POOL_BATCHES)
    while True:
        rng = np.random.default_rng((seed, pool_number))
        yield from _pool(rng)[skipped:]
        pool_number, skipped = pool_number + 1, 0


def batch_of(prompts: list[tuple[list[tuple[int, ...]], Wish]]) -> Batch:
    """One batch of these prompts as the network reads them."""
    right = torch.tensor([right_outputs(wish) for _, wish in prompts])
    return Batch(padded([words for words, _ in prompts]), right)


def right_outputs(wish: Wish) -> list[int]:
    """The right output of each head; 0 is "off"."""
    chosen = choices(wish)
    return [chosen.get((token, group.name), -1) + 1 for token, group in HEADS]


@torch.inference_mode()
def accuracy(network: TextNetwork, count: int, seed: int, *, unseen: bool, noisy: bool) -> dict[str, Tally]:
    """How often each group that is on is right, how often the whole prompt is, and whether it is with all that is off.

    Counts `count` prompts, of combinations that are kept out of training with `unseen`, as typed by people with
    `noisy`.
    """
    rng = np.random.default_rng((seed, 2**32))
    tallies = {group.name: Tally() for _, group in HEADS} | {"whole prompt": Tally()}
    allowed = patterns()
    for _ in range(0, count, BATCH):
        batch = batch_of([_drawn(rng, unseen=unseen, noisy=noisy) for _ in range(BATCH)])
        for logits, right in zip(network(batch.words), batch.right.tolist(), strict=True):
            found = found_outputs(features(logits, allowed))
            for (_, group), one, wanted in zip(HEADS, found, right, strict=True):
                if wanted:
                    tallies[group.name].add(one == wanted)
            tallies["whole prompt"].add(found == right)
    return tallies


def found_outputs(said: Tensor) -> list[int]:
    """The output of each head that features [4, 64] tell of; where there is a change, other tokens but repeat it."""
    outputs = []
    changed = float(said[CHANGE, NAMES:].max()) >= ON / 4
    for token, group in HEADS:
        channels = said[token, group.start : group.start + len(group.values)]
        told = float(channels.max()) >= ON / 4 and (token == CHANGE or not changed)
        outputs.append(int(channels.argmax()) + 1 if told else 0)
    return outputs


def _pool(rng: Generator) -> list[Batch]:
    drawn = [_drawn(rng, unseen=False, noisy=True) for _ in range(BATCH * POOL_BATCHES)]
    drawn.sort(key=lambda one: len(one[0]))
    made = [batch_of(drawn[start : start + BATCH]) for start in range(0, len(drawn), BATCH)]
    return [made[place] for place in rng.permutation(len(made))]


def _drawn(rng: Generator, *, unseen: bool, noisy: bool) -> tuple[list[tuple[int, ...]], Wish]:
    asked = ask(rng, unseen=unseen)
    return read(typed(asked.prompt, rng) if noisy else asked.prompt), asked.wish
