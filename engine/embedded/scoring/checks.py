"""What conditions ask beside the usual criteria: the given picture, the asked background, the source's motion."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.clip import Clip
from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE
from engine.embedded.scoring.clip_file import Watched, smaller, watch
from engine.embedded.scoring.judge import Answers, Seen, look
from engine.embedded.scoring.makers import Maker, geometry_of
from engine.embedded.scoring.path import SeenTrack
from engine.embedded.scoring.tasks import Task
from engine.mux import centre_crop
from hhray.geometry import Size

PSNR_MARGIN = 1.0  # dB below what the codec makes of the picture
EARLY = 6  # frames in which a thing must not jump away from where the picture has it
LEAP = 0.15  # heights in a frame; the fastest bounce stays below
NEAR = 0.1  # heights, root mean square: an edited thing is where its source was
TOGETHER = 0.9  # correlation along an axis on which the source moves
MOVES = 0.05  # standard deviation, heights


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A clip to be checked, what is seen in it, what was asked, and who made it."""

    task: Task
    clip: Watched
    seen: Seen
    maker: Maker


# Answers to criteria of its own, and figures worth a mean.
Check = Callable[[Case], tuple[Answers, dict[str, float]]]


def first_frame(case: Case) -> tuple[Answers, dict[str, float]]:
    """Whether the clip begins with the given picture, within 1 dB of the codec's own error, and goes on from there."""
    if case.task.image is None:
        raise ValueError("this check is for tasks that are given a first frame, and this one has none")
    given = np.asarray(Image.open(case.task.image).convert("RGB"), np.uint8)
    codec = psnr(_through_codec(given, case.maker), smaller(given))
    found = psnr(case.clip.frames[0], smaller(given))
    answers = {"first frame": [found >= codec - PSNR_MARGIN], "continues": [_continues(case.seen)]}
    return answers, {"first frame PSNR (dB)": found, "codec's PSNR (dB)": codec}


def on_background(case: Case) -> tuple[Answers, dict[str, float]]:
    """Whether the thing is before the background that was asked for."""
    return {"background": [case.seen.background == case.task.scene.background]}, {}


def follows_source(case: Case) -> tuple[Answers, dict[str, float]]:
    """Whether the largest thing is where the source's was, frame by frame."""
    if case.task.video is None:
        raise ValueError("this check is for tasks that edit a video, and this one has none")
    source = look(watch(case.task.video))
    if not case.seen.things or not source.things:
        return {"track": [False]}, {}
    apart, agreement = compared(source.things[0].track, case.seen.things[0].track)
    right = bool(apart <= NEAR and agreement >= TOGETHER)
    return {"track": [right]}, {"distance to source (heights)": apart} if np.isfinite(apart) else {}


def compared(first: SeenTrack, second: SeenTrack) -> tuple[float, float]:
    """How far two tracks are apart, root mean square over the frames in which both are seen, in heights; and the least
    correlation over the axes on which the first moves (1 if it rests)."""
    count = min(len(first.x), len(second.x))
    pairs = [(first.x[:count], second.x[:count]), (first.y[:count], second.y[:count])]
    both = np.all([np.isfinite(one) for pair in pairs for one in pair], axis=0)
    if both.sum() < count / 2:
        return float("inf"), 0.0
    squares, agreements = np.zeros(int(both.sum())), [1.0]
    for one, other in ((one[both], other[both]) for one, other in pairs):
        squares += np.square(one - other)
        if one.std() > MOVES:
            agreements.append(float(np.corrcoef(one, other)[0, 1]) if other.std() > 0 else 0.0)
    return float(np.sqrt(squares.mean())), min(agreements)


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal to noise of two pictures of one shape, in dB; 99 at most."""
    error = float(np.square(first.astype(np.float64) - second).mean())
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0


def _through_codec(picture: NDArray[np.uint8], maker: Maker) -> NDArray[np.uint8]:
    """The picture laid where it is delivered from, through the maker's codec, then delivered and watched as a clip is.

    Rows and columns that are not delivered repeat the nearest one that is.
    """
    native, output = maker.native, geometry_of().output
    rows, columns = centre_crop(np.empty((native.height, native.width, 3), np.uint8), output).shape[:2]
    fitted = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.LANCZOS))
    spare = native.height - rows, native.width - columns
    edges = [(one // 2, one - one // 2) for one in spare]
    laid = np.pad(fitted, (*edges, (0, 0)), mode="edge")
    return _compressed(maker.round_trip(laid), output)


def _compressed(picture: NDArray[np.uint8], output: Size) -> NDArray[np.uint8]:
    """A still as it is watched in an MP4."""
    silence = torch.zeros(2, SAMPLES_PER_LATENT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.mp4"
        Clip(torch.from_numpy(picture)[None], silence, SOUND_RATE, output, 1).save(path)
        frames = watch(path).frames
    return np.asarray(frames[0], np.uint8)


def _continues(seen: Seen) -> bool:
    """Whether something is there from the first frame on, and does not leap at once."""
    tracks = [(thing.track.x[:EARLY], thing.track.y[:EARLY]) for thing in seen.things]
    steps = [np.hypot(np.diff(x), np.diff(y)) for x, y in tracks]
    return bool(steps) and all(bool((one < LEAP).all()) for one in steps)
