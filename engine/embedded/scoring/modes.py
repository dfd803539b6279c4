"""Rounds of scoring of text to video and of the other modes, with their calibration, control and contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.embedded.scoring.checks import Check
from engine.embedded.scoring.conditions import CONDITIONS
from engine.embedded.scoring.makers import Maker, TrueMaker
from engine.embedded.scoring.report import Round, round_of
from engine.embedded.scoring.rounds import Scored, control, score
from engine.embedded.scoring.sheet import Row, contact_sheet
from engine.embedded.scoring.tasks import Task, held_out_tasks
from engine.embedded.world.grammar import plain_prompt
from engine.embedded.world.scene import Scene

TEXT = "t2v"
SHEET_ROWS = 10


def rounds(
    maker: Maker,
    modes: Sequence[str],
    *,
    num_prompts: int,
    num_each: int,
    seed: int,
    folder: Path,
    sheet: Path | None = None,
    calibrated: bool = True,
) -> list[Round]:
    """A round of each mode.

    Args:
        maker: who makes the clips.
        modes: TEXT and names of CONDITIONS.
        num_prompts: held-out prompts of TEXT; there are more for clicks and faces (`held_out_tasks`).
        num_each: tasks of each other mode.
        seed: of tasks and control.
        folder: where clips and the files of tasks are written.
        sheet: a PNG of the first clips of each mode.
        calibrated: whether true renders of the same tasks are scored as well.
    """
    made, rows = [], []
    for mode in modes:
        tasks, check = tasks_of(mode, num_prompts if mode == TEXT else num_each, seed, folder)
        scored = score(tasks, maker, folder, mode, check)
        true = score(tasks, TrueMaker(), folder, f"{mode}-true", check) if calibrated else []
        made.append(round_of(mode, scored, true, control(scored, seed)))
        rows += [_row(mode, one) for one in scored[:SHEET_ROWS]]
    if sheet:
        contact_sheet(rows, sheet)
    return made


def tasks_of(mode: str, num: int, seed: int, folder: Path) -> tuple[list[Task], Check | None]:
    """The tasks of a mode, their files written into `folder`, and what is asked beside the usual criteria."""
    if mode == TEXT:
        return held_out_tasks(num, seed), None
    condition = CONDITIONS[mode]
    return condition.tasks(num, seed, folder), condition.check


def in_english(scene: Scene) -> str:
    """The scene in a few plain words."""
    if scene.face:
        return f"{scene.face.colour} face speaking {scene.face.language}"
    return " and ".join(plain_prompt(thing) for thing in scene.things)


def _row(mode: str, one: Scored) -> Row:
    return Row(one.task.prompt, one.path, in_english(one.task.scene), mode)
