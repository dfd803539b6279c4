"""The small text encoder of the made world; satisfies TextEncoder of engine.codecs.base.

It answers for each group of engine.embedded.meaning which value a prompt asks for. Its answers together are always such
as a wish can have: one thing or two, a face, or a change, never half of a thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.embedded.codecs.text_network import HEAD_WIDTH, HEADS, NUM_OUTPUTS, TextNetwork
from engine.embedded.codecs.text_reading import read
from engine.embedded.meaning import (
    BEHIND,
    CHANGE,
    FIRST_THING,
    LANES,
    ON,
    SECOND_THING,
    empty,
    figure_name,
    with_changes,
)
from hhray.errors import ConfigError

FILE = "text.safetensors"
SHARPNESS = 3.0
FIGURE = re.compile(r"<Figure ([1-9])>")

_WAYS = ("motion", "speed", "bulk")
_LOOKS = (("shape", "colour"), ("figure",))


class SpriteTextEncoder:
    """See the module's docstring. `network` is a trained one, in float32 on the CPU."""

    def __init__(self, network: TextNetwork) -> None:
        self.network = network.eval().requires_grad_(False)
        self._patterns = patterns()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The encoder whose weights are `folder`/text.safetensors.

        Raises:
            ConfigError: the file is absent, cannot be read, or its tensors are not those of this network.
        """
        path = folder / FILE
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); {_remedy(folder)}") from error
        return cls(network_of(tensors, path))

    @torch.inference_mode()
    def encode(self, prompt: str) -> Tensor:
        """Features float32 [4, 64] of a prompt of any length, or of a picture's name `<Figure 1>` .. `<Figure 9>`."""
        name = FIGURE.fullmatch(prompt.strip())
        if name:
            return torch.from_numpy(figure_name(int(name[1])))
        with _one_thread():
            return features(self.network(padded([read(prompt)]))[0], self._patterns)


def network_of(tensors: dict[str, Tensor], path: Path) -> TextNetwork:
    """The network that a file's tensors are of; sizes are those of the tensors.

    Raises:
        ConfigError: a tensor is missing, unknown or of another shape.
    """
    for name, dimensions in (("parts.weight", 2), ("words.weight", 3)):
        shape = list(tensors[name].shape) if name in tensors else None
        if shape is None or len(shape) != dimensions or (dimensions == 3 and shape[0] % HEAD_WIDTH):
            wanted = f"{dimensions} dimensions, and heads of {HEAD_WIDTH} channels"
            raise ConfigError(f"{path}: tensor {name} is {shape}, expected {wanted}; {_remedy(path.parent)}")
    layers = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    network = TextNetwork(tensors["parts.weight"].shape[-1], tensors["words.weight"].shape[0], layers)
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        right, found = (list(part[name].shape) if name in part else None for part in (expected, tensors))
        if right != found:
            raise ConfigError(f"{path}: tensor {name} is {found}, expected {right}; {_remedy(path.parent)}")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network


def padded(prompts: list[list[tuple[int, ...]]]) -> Tensor:
    """Read prompts (text_reading.read) as the network takes them: int64 [B, words, parts], 0 where there is none."""
    words, parts = max(map(len, prompts)), max(len(word) for prompt in prompts for word in prompt)
    result = np.zeros((len(prompts), words, parts), np.int64)
    for row, prompt in zip(result, prompts, strict=True):
        for place, word in zip(row, prompt, strict=False):
            place[: len(word)] = word
    return torch.from_numpy(result)


def patterns() -> Tensor:
    """Which outputs each kind of wish may have: bool [kinds, heads, outputs]."""
    kinds: list[dict[tuple[int, str], tuple[int, ...]]] = []
    for look in _LOOKS:
        kinds.append(_scene() | _thing(FIRST_THING, look, 0))
    for first, second, upper in product(_LOOKS, _LOOKS, range(1, len(LANES), 2)):
        kinds.append(_scene() | _thing(FIRST_THING, first, upper) | _thing(SECOND_THING, second, upper + 1))
    kinds.append(_scene() | {(BEHIND, name): () for name in ("face", "language", "phrase")})
    for change in (("new colour",), ("new background",), ("new colour", "new background")):
        kinds.append({(CHANGE, name): () for name in change})
    allowed = torch.zeros(len(kinds), len(HEADS), NUM_OUTPUTS, dtype=torch.bool)
    for row, kind in zip(allowed, kinds, strict=True):
        for outputs, (token, group) in zip(row, HEADS, strict=True):
            on = kind.get((token, group.name))
            values = (-1,) if on is None else on or range(len(group.values))
            outputs[[value + 1 for value in values]] = True
    return allowed


def features(logits: Tensor, allowed: Tensor) -> Tensor:
    """Logits float32 [heads, outputs] -> features float32 [4, 64] of the likeliest kind of wish.

    Groups that are on sum to ON, the more sure the nearer to one channel; the others are zero.
    """
    shares = logits.log_softmax(-1)
    likely = shares.masked_fill(~allowed, -torch.inf).logsumexp(-1).sum(-1)
    chosen = allowed[int(likely.argmax())]
    values = (SHARPNESS * logits).masked_fill(~chosen, -torch.inf).softmax(-1)
    result = empty()
    for (token, group), value in zip(HEADS, values.numpy(), strict=True):
        result[token, group.start : group.start + len(group.values)] = ON * value[1 : 1 + len(group.values)]
    return torch.from_numpy(with_changes(result))


@contextmanager
def _one_thread() -> Iterator[None]:
    """So little work is done sooner by one thread: on a busy machine several wait a hundred times longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _scene() -> dict[tuple[int, str], tuple[int, ...]]:
    return {(BEHIND, "background"): ()}


def _thing(token: int, look: tuple[str, ...], lane: int) -> dict[tuple[int, str], tuple[int, ...]]:
    """Groups of a thing that are on, with the values they may have; () for any."""
    return {(token, name): () for name in (*_WAYS, *look)} | {(token, "lane"): (lane,)}


def _remedy(folder: Path) -> str:
    return f"expected the weights of the small text encoder: copy {FILE} of the release into {folder} again"
