"""Proof: in 8 bits the embedded weights score as they do in float32, within one point of a hundred."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.embedded import WEIGHTS
from engine.embedded.scoring.makers import PipelineMaker
from engine.embedded.scoring.report import values
from engine.embedded.scoring.rounds import Scored, score, tally_of
from engine.embedded.scoring.sampled import SampledPipeline
from engine.embedded.scoring.tasks import Task, held_out_tasks
from hhray.geometry import Resolution

PROMPTS, SEED = 40, 2031
POINT = 0.01  # of all answers together; a single criterion has some dozens of them, a point of which is less than one

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        not (WEIGHTS / "distill").is_dir(), reason=f"the trained weights are not in this checkout: no {WEIGHTS}/distill"
    ),
]


WAYS = {
    "auto": {},
    "fp8": {"precision": "fp8"},
    "int8": {"precision": "int8"},
    "int8_attention": {"attention_precision": "int8"},
}


def scored(tasks: list[Task], way: str, folder: Path) -> tuple[list[Scored], str]:
    """The clips of the tasks in one way, and what the transformer computed in."""
    pipeline = SampledPipeline.from_pretrained("embedded", tiers=[Resolution.P256], max_seconds=3, **WAYS[way])
    maker = PipelineMaker(pipeline.to("cpu"))
    return score(tasks, maker, folder, way), pipeline.arithmetic


def right(clips: list[Scored]) -> tuple[int, int]:
    """Right answers, and all answers."""
    answers = [one for clip in clips for criterion in clip.answers.values() for one in criterion]
    return sum(answers), len(answers)


def test_8_bits_score_within_one_point(tmp_path: Path, keep_proof: Callable[[str, dict[str, Any]], None]) -> None:
    tasks = held_out_tasks(PROMPTS, SEED)[:PROMPTS]
    facts: dict[str, Any] = {"seed": SEED, "prompts": PROMPTS}
    shares = {}
    for way in WAYS:
        clips, arithmetic = scored(tasks, way, tmp_path)
        good, total = right(clips)
        assert total > 4 * PROMPTS
        shares[way] = good / total
        facts[way] = {"arithmetic": arithmetic, "right": good, "answers": total, **values(tally_of(clips))}
    keep_proof("embedded_eight_bit", facts)
    behind = {kind: shares["auto"] - share for kind, share in shares.items()}
    assert {kind: points for kind, points in behind.items() if points > POINT} == {}
