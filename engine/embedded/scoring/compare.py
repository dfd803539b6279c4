"""A distilled student beside its teacher: the same prompts and seeds, scores and seconds of both."""

from __future__ import annotations

from pathlib import Path

from engine.embedded.scoring.makers import Maker
from engine.embedded.scoring.report import Round, differences, round_of
from engine.embedded.scoring.rounds import score
from engine.embedded.scoring.tasks import held_out_tasks


def against_teacher(
    student: Maker, teacher: Maker, num_prompts: int, seed: int, folder: Path
) -> tuple[Round, Round, dict[str, object]]:
    """Rounds of both, and: how many points the teacher is ahead in each criterion, and how many times as long it takes
    for a clip."""
    tasks = held_out_tasks(num_prompts, seed)
    short = round_of("student", score(tasks, student, folder, "student"))
    long = round_of("teacher", score(tasks, teacher, folder, "teacher"))
    ahead = {name: round(points, 2) for name, points in differences(short.scores, long.scores).items()}
    return short, long, {"points_teacher_ahead": ahead, "time_ratio": round(long.seconds / short.seconds, 2)}
