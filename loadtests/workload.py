"""What the load test asks for: a weighted mixture of small clips, with prompts in the model's seven languages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from hhray.geometry import Ratio, Resolution
from hhray.request import MAX_SEED


@dataclass(frozen=True, slots=True)
class Shape:
    """Resolution, ratio and seconds of a clip."""

    resolution: Resolution
    ratio: Ratio
    duration: int

    def __str__(self) -> str:
        return f"{self.resolution} {self.ratio} {self.duration} s"


# Mostly previews, as in people's first tries; the weights are shares of 10.
SMALL_MIX: tuple[tuple[Shape, int], ...] = (
    (Shape(Resolution.P256, Ratio.R16_9, 3), 4),
    (Shape(Resolution.P256, Ratio.R9_16, 3), 2),
    (Shape(Resolution.P256, Ratio.R1_1, 4), 2),
    (Shape(Resolution.P480, Ratio.R16_9, 3), 1),
    (Shape(Resolution.P720, Ratio.R16_9, 3), 1),
)

PROMPTS: dict[str, str] = {
    "en": "A brown horse gallops along the beach at sunrise, waves breaking behind it",
    "zh": "一匹马在清晨的草原上奔跑,远处传来鸟鸣",
    "yue": "夜晚嘅香港街頭,電車響住鐘慢慢駛過",
    "ja": "雨の降る路地で、猫が傘の下からこちらを見ている",
    "ko": "눈 내리는 산길을 기차가 천천히 지나간다",
    "de": "Eine alte Uhr schlägt zwölf, während Schnee auf den Marktplatz fällt",
    "fr": "Un boulanger sort le pain du four et chante à voix basse",
}


def choose_shape(random: Random, resolution: Resolution | None = None, duration: int | None = None) -> Shape:
    """Draw a shape of the mixture; a given resolution or duration (seconds) replaces the drawn one."""
    shapes, weights = zip(*SMALL_MIX, strict=True)
    shape: Shape = random.choices(shapes, weights)[0]
    if resolution is not None:
        shape = replace(shape, resolution=resolution)
    return shape if duration is None else replace(shape, duration=duration)


def create_body(random: Random, shape: Shape) -> dict[str, Any]:
    """A create request for that shape, with a drawn prompt and seed."""
    version = "1.1" if shape.resolution is Resolution.P480 else "1.0"  # 480P is on the menu of 1.1 only
    return {
        "model": f"happyhorse-{version}-t2v",
        "input": {"prompt": random.choice(list(PROMPTS.values()))},
        "parameters": {
            "resolution": shape.resolution.value,
            "ratio": shape.ratio.value,
            "duration": shape.duration,
            "seed": random.randint(0, MAX_SEED),
            "watermark": False,
        },
    }
