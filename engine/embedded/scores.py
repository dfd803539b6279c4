"""`python -m engine.embedded.scores [FOLDER]`: how well a checkpoint makes what prompts of the made world ask for.

Clips of held-out combinations are made, written as MP4 and looked at. Each criterion's score stands with its Wilson
interval beside that of true renders of the same scenes, which shows how far the scorers can be trusted, and beside a
control: clips judged by the scenes, and with the sound, of other clips.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.embedded.scoring.compare import against_teacher
from engine.embedded.scoring.conditions import CONDITIONS
from engine.embedded.scoring.makers import Maker, PipelineMaker, TrueMaker, through_sound_codec, true_clip
from engine.embedded.scoring.modes import TEXT, rounds
from engine.embedded.scoring.report import Round
from engine.embedded.scoring.sampled import SAMPLERS, load_pipeline
from hhray.console import result_console
from hhray.errors import HhrayError

MODES = (TEXT, *CONDITIONS)
PROMPTS, PROMPTS_AGAINST = 200, 40


def main(argv: list[str] | None = None) -> int:
    """Print the tables; returns the exit code: 0, or 2 when there are no such weights."""
    arguments = _parser().parse_args(argv)
    try:
        with _folder(arguments.to) as folder:
            made, more = _scores(arguments, folder)
    except HhrayError as error:
        sys.stderr.write(f"engine.embedded.scores: {error.message}\n")
        return 2
    facts = {
        "weights": "true renders" if arguments.calibrate else arguments.folder,
        "seed": arguments.seed,
        "rounds": {one.name: one.facts() for one in made},
        **more,
    }
    if arguments.to:
        (arguments.to / "scores.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(facts))
    else:
        _print(made, more)
    return 0


def _scores(arguments: argparse.Namespace, folder: Path) -> tuple[list[Round], dict[str, object]]:
    """All rounds, and what else there is to tell."""
    if arguments.calibrate:
        draw = through_sound_codec if arguments.sound_codec else true_clip
        maker: Maker = TrueMaker(draw)
    else:
        maker = PipelineMaker(load_pipeline(arguments.folder, arguments.steps, arguments.sampler, arguments.device))
    if arguments.against:
        steps, base = arguments.teacher_steps, arguments.teacher_base
        teacher = PipelineMaker(load_pipeline(arguments.against, steps, "unipc", arguments.device, base))
        num = arguments.prompts or PROMPTS_AGAINST
        student, long, facts = against_teacher(maker, teacher, num, arguments.seed, folder)
        return [student, long], facts
    made = rounds(
        maker,
        arguments.modes,
        num_prompts=arguments.prompts or PROMPTS,
        num_each=arguments.each,
        seed=arguments.seed,
        folder=folder,
        sheet=arguments.sheet,
        calibrated=not arguments.calibrate,
    )
    return made, {}


def _print(made: list[Round], more: dict[str, object]) -> None:
    console = result_console()
    for one in made:
        console.print(one.table())
    for name, value in more.items():
        console.print(f"{name.replace('_', ' ')}: {value}", markup=False)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Where clips are kept, or thrown away afterwards."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="hhray-scores-") as folder:
        yield Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine.embedded.scores",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", default="embedded", metavar="FOLDER", help="weights (default: the embedded ones)")
    add("--prompts", type=int, default=0, help=f"held-out prompts ({PROMPTS}; with --against {PROMPTS_AGAINST})")
    add("--seed", type=int, default=1, help="of prompts and clips (%(default)s)")
    add("--modes", nargs="+", default=[TEXT], choices=MODES, help=f"what to score (default: {TEXT})")
    add("--each", type=int, default=20, help="tasks of each other mode (%(default)s)")
    add("--steps", type=int, default=0, help="denoising steps (default: as the weights are served)")
    add("--sampler", choices=SAMPLERS, default=SAMPLERS[0], help="whose steps they are (%(default)s)")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where to compute (%(default)s)")
    add("--calibrate", action="store_true", help="score true renders alone, no weights")
    add("--sound-codec", action="store_true", help="with --calibrate: through the small sound codec as well")
    add("--against", metavar="FOLDER", help="compare with these weights, the teacher's")
    add("--teacher-steps", type=int, default=50, help="UniPC steps of --against, unguided (%(default)s)")
    add("--teacher-base", default="auto", choices=["auto", "distill", "base"], help="which of its base weights")
    add("--json", action="store_true", help="print one JSON object")
    add("--to", type=Path, metavar="FOLDER", help="keep the clips and scores.json here")
    add("--sheet", type=Path, metavar="FILE.png", help="draw a contact sheet of the first clips of each mode")
    return parser


if __name__ == "__main__":
    sys.exit(main())
