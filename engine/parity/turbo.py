"""Turbo decoder cases: latents of several lengths to raw frames."""

from __future__ import annotations

import torch

from engine.codecs import turbo
from engine.parity.golden_set import GoldenSet
from engine.parity.report import FORWARD_TOLERANCE, Row, compare
from hhray.errors import ConfigError


def turbo_rows(golden: GoldenSet, name: str) -> list[Row]:
    """A decoder configuration: NAME.json, NAME_weights and NAME with latents `z.N` and frames `video.N`.

    Raises:
        ConfigError: a file or tensor is missing, or the weights do not fit.
    """
    file, weights = golden.file(name), golden.file(f"{name}_weights").tensors
    golden.json(name)
    lengths = {key.partition(".")[2] for key in file.tensors}
    if not lengths:
        raise ConfigError(f"{name}.safetensors is empty; record the case anew")
    decoder = turbo.TurboDecoder(turbo.TurboConfig.from_json(golden.folder / f"{name}.json"))
    decoder.load_state_dict(weights)
    decoder.eval().requires_grad_(False)
    rows = []
    for length in sorted(lengths, key=int):
        frames: torch.Tensor = turbo.decode(decoder, file.item(f"z.{length}"))
        rows.append(compare(name, f"video.{length}", frames, file.item(f"video.{length}"), FORWARD_TOLERANCE))
    return rows
