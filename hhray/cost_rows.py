"""Measured rows for fitting the cost model, read from what `python -m engine.bench --json` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, Size
from hhray.local_rule import local_rule
from hhray.memory_parts import TRANSFORMER_STAGES, Stage
from hhray.model_size import preset
from hhray.step_work import ClipTokens, StepWork, step_work

VIDEO_DECODE = "video decode"
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class StepRow:
    """Measured seconds of one denoising step. `threads` are those of a rank on a CPU, 0 on a GPU."""

    label: str
    device: str
    threads: int
    work: StepWork
    seconds: float


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """Measured seconds of decoding one clip of so many pixels, frames together, on one rank."""

    label: str
    device: str
    threads: int
    pixels: int
    seconds: float


Row = StepRow | DecodeRow


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of some files, each of one JSON object, or of one in every line.

    Passes on one rank of a run of several ranks on a CPU are left out: one rank had the threads of all.

    Raises:
        ConfigError: a file cannot be read, or is not what the benchmark writes.
    """
    rows: list[Row] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            for facts in _objects(text):
                rows += _rows_of(facts)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error}; name files of python -m engine.bench --json") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is not what python -m engine.bench --json writes ({type(error).__name__}: {error})"
            ) from error
    return rows


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _rows_of(facts: dict[str, Any]) -> Iterator[Row]:
    if facts.get("dry"):
        raise ValueError("a dry run measures nothing")
    clip, device, ranks, batch = facts["clip"], facts["device"], facts["ranks"], facts.get("batch", 1)
    size, threads = preset(facts["preset"]), _threads(facts)
    for row in facts["stages"]:
        label = f"{size.name} {row['stage']} {row['size']} {clip['duration']} s"
        if row["stage"] in {stage.value for stage in TRANSFORMER_STAGES}:
            stage, seconds = Stage(row["stage"]), float(row["seconds_per_step"])
            tokens = ClipTokens(
                _pixels(row["size"]).latent_grid(clip["latent_frames"]), clip["audio_latents"], clip["text_tokens"]
            )
            rule, width = local_rule(stage, size.num_layers), ELEMENT_BYTES[facts["dtype"]]
            work = step_work(size, tokens, rule, degree=ranks, items=batch, element_bytes=width)
            yield StepRow(f"{label}, batch {batch}, {ranks} ranks", device, threads, work, seconds)
        elif row["stage"] == VIDEO_DECODE:
            pixels = _pixels(row["size"])
            frames = TEMPORAL_STRIDE * (clip["latent_frames"] - 1) + 1
            alone = facts.get("machine", {}).get("threads", 0) if device == "cpu" else 0  # one rank has all of them
            decoded = pixels.width * pixels.height * frames
            yield DecodeRow(label, device, alone, decoded, float(row["seconds_per_step"]))


def _threads(facts: dict[str, Any]) -> int:
    if facts["device"] != "cpu":
        return 0
    return max(1, int(facts["machine"]["threads"]) // int(facts["ranks"]))


def _pixels(text: str) -> Size:
    width, height = map(int, text.split("x"))
    if width % SPATIAL_STRIDE or height % SPATIAL_STRIDE:
        raise ValueError(f"a size of {text}, which is no multiple of {SPATIAL_STRIDE} pixels")
    return Size(width, height)
