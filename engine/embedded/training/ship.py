"""`python -m engine.embedded.training.ship --run FOLDER --codecs FOLDER`: puts what was trained into the package.

The transformer is student.safetensors of the run, or teacher.safetensors with --teacher; text.safetensors and
video.safetensors come from the folder of the codecs. The model card tells what the run's progress.jsonl and
distilled.jsonl say, and the scores of a scores.json, if given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from engine.checkpoint.names import TEXT_FILE, VIDEO_FILE
from engine.embedded import WEIGHTS
from engine.embedded.release_files import write_release
from engine.embedded.training.start import SIZE, new_model
from hhray.capabilities import Capabilities
from hhray.errors import HhrayError

MODES = ("t2v", "i2v", "a2v", "r2v", "edit")
CARD = """# The embedded checkpoint

A network of the HappyHorse-1.0 class in miniature: {layers} layers ({edge} + {trunk} + {edge}), {weights:,} weights in
bfloat16, with a text encoder, a video codec and a sound codec of its own. It draws and sounds one made world: shapes
that move, bounce and grow, and faces that talk. It knows nothing else.

- **Data**: made by `engine.embedded.world` while training; nothing was collected. One combination of shape, colour and
  motion in eight was never shown: the scores below are on those.
- **Training**: `python -m engine.embedded.training.transformer`: {taken}; {distilled}.
{remark}- **Hardware**: {hardware}, torch {torch}.
- **Video latents** are supervised: a latent pixel says which thing is next to it and where (`codecs/fields.py`).
- **Modes** it was trained for: {modes}.
- **Licence**: Apache-2.0, as the code.

{scores}"""
DISTILLED = "then `python -m engine.embedded.training.distil` to eight steps: {taken}"
NOT_DISTILLED = "not distilled yet: the teacher itself takes eight steps"
NO_SCORES = "Not scored yet: `python -m engine.embedded.scores`.\n"


def card(
    run: Path, capabilities: Capabilities, scores: Path | None, hardware: str, teacher: bool, remark: str = ""
) -> str:
    """The model card, in Markdown."""
    distilled = NOT_DISTILLED if teacher else DISTILLED.format(taken=_taken(run / "distilled.jsonl"))
    model = new_model(0)
    return CARD.format(
        layers=SIZE.num_layers,
        edge=SIZE.num_edge,
        trunk=SIZE.num_layers - 2 * SIZE.num_edge,
        weights=sum(one.numel() for one in model.parameters()),
        taken=_taken(run / "progress.jsonl"),
        distilled=distilled,
        remark=f"- **To be known**: {remark}\n" if remark else "",
        hardware=hardware,
        torch=torch.__version__,
        modes=", ".join(capabilities.names()),
        scores=_table(json.loads(scores.read_text(encoding="utf-8"))) if scores else NO_SCORES,
    )


def _taken(log: Path) -> str:
    """Steps, clips and hours of a log of steps."""
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    clips, hours = (sum(one[name] for one in steps) for name in ("clips", "seconds"))
    return f"{len(steps):,} steps, {clips:,} clips, {hours / 3600:.1f} hours"


def _table(facts: dict[str, Any]) -> str:
    """Scores of a scores.json as a table."""
    lines = ["| mode | criterion | score (95 % interval) | true renders | shuffled |", "|---|---|---|---|---|"]
    for mode, one in facts["rounds"].items():
        for name, score in one["scores"].items():
            others = (one[column].get(name) for column in ("calibration", "shuffled"))
            lines.append(f"| {mode} | {name} | {_cell(score)} | {' | '.join(_cell(other) for other in others)} |")
    return "\n".join([*lines, ""])


def _cell(score: dict[str, Any] | None) -> str:
    if not score or not score["total"]:
        return ""
    share, low, high = (100 * score[name] for name in ("share", "low", "high"))
    return f"{score['right']} of {score['total']}: {share:.1f} % ({low:.1f} .. {high:.1f})"


def main(argv: list[str] | None = None) -> int:
    """Write the release; returns the exit code: 0, or 2 when it would be too large."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.training.ship", description=__doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, help="folder of the training run")
    add("--codecs", type=Path, required=True, help=f"folder with {TEXT_FILE} and {VIDEO_FILE}")
    add("--to", type=Path, default=WEIGHTS, help="folder of the release (default: in this package)")
    add("--teacher", action="store_true", help="ship the teacher, not the student")
    add("--modes", nargs="+", choices=MODES, default=list(MODES), help="what it is said to be trained for (all)")
    add("--scores", type=Path, help="scores.json of `python -m engine.embedded.scores --to`")
    add("--remark", default="", help="what a reader of the card must know besides")
    add("--hardware", default="two CPU cores", help="what it was trained on, for the card")
    arguments = parser.parse_args(argv)
    model = new_model(0)
    weights = load_file(arguments.run / ("teacher.safetensors" if arguments.teacher else "student.safetensors"))
    model.load_state_dict({**model.state_dict(), **weights})
    able = Capabilities(**{mode: mode in arguments.modes for mode in MODES})
    text = card(arguments.run, able, arguments.scores, arguments.hardware, arguments.teacher, arguments.remark)
    codecs = arguments.codecs
    try:
        write_release(arguments.to, model.state_dict(), SIZE, codecs / TEXT_FILE, codecs / VIDEO_FILE, able, text)
    except HhrayError as error:
        sys.stderr.write(f"engine.embedded.training.ship: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
