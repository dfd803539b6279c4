"""`python -m engine.embedded.scores --calibrate [--sound-codec]`: how well the scorers see true renders, in real MP4s.

Prints each criterion's accuracy with its Wilson interval, beside a control: the same clips judged against the scenes of
other clips, and with their sound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.clip import Clip
from engine.codecs.base import SOUND_RATE
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.scoring.clip_file import watch
from engine.embedded.scoring.judge import Seen, judge, look, tally
from engine.embedded.scoring.wilson import Tally
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import Scene
from engine.embedded.world.sound import sound
from hhray.geometry import ClipGeometry, Ratio, Resolution

SECONDS = 3
Make = Callable[[Scene, int], tuple[torch.Tensor, torch.Tensor]]


def true_clip(scene: Scene, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames uint8 [F, H, W, 3] and sound float32 [2, 2048 F] at 51,200 Hz, as the world has them."""
    return torch.from_numpy(render(scene, num_frames)), torch.from_numpy(sound(scene, 2048 * num_frames))


def through_sound_codec(scene: Scene, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, its sound after the latents of the small sound codec."""
    frames, heard = true_clip(scene, num_frames)
    audio = SpriteSoundCodec()
    return frames, audio.decode(audio.encode(heard, SOUND_RATE, torch.Generator()))


def seen_in_file(scene: Scene, make: Make, folder: Path, resolution: Resolution = Resolution.P256) -> Seen:
    """What is seen in the MP4 of a scene that `make` drew and sounded."""
    geometry = ClipGeometry(resolution, Ratio.R16_9, SECONDS)
    frames, heard = make(scene, geometry.audio_latents)
    path = folder / "clip.mp4"
    Clip(frames, heard, SOUND_RATE, geometry.output, geometry.num_frames).save(path)
    return look(watch(path))


def calibrate(num_scenes: int, seed: int, make: Make = true_clip) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Counts for held-out scenes, and for the same clips with sounds and scenes of others."""
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, unseen=True) for _ in range(num_scenes)]
    with tempfile.TemporaryDirectory() as folder:
        seen = [seen_in_file(scene, make, Path(folder)) for scene in scenes]
    num_frames = SECONDS * 25
    right = tally(judge(one, scene, num_frames) for one, scene in zip(seen, scenes, strict=True))
    control = tally(judge(one, scene, num_frames) for one, scene in _shuffled(seen, scenes, rng))
    return right, control


def _shuffled(seen: list[Seen], scenes: list[Scene], rng: np.random.Generator) -> Iterator[tuple[Seen, Scene]]:
    """Each clip with the sound of another clip and the scene of a third, all with as many things."""
    for kind in sorted({_kind(scene) for scene in scenes}):
        places = [int(place) for place in rng.permutation([i for i, one in enumerate(scenes) if _kind(one) == kind])]
        for place, other, third in zip(places, places[1:] + places[:1], places[2:] + places[:2], strict=True):
            heard = seen[other]
            mixed = replace(seen[place], tones=heard.tones, clicks=heard.clicks, loudness=heard.loudness)
            yield mixed, scenes[third]


def _kind(scene: Scene) -> int:
    return len(scene.things)


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.scores", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", required=True, help="score true renders")
    parser.add_argument("--scenes", type=int, default=200, help="held-out scenes (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes (1)")
    parser.add_argument("--sound-codec", action="store_true", help="through the small sound codec as well")
    arguments = parser.parse_args(argv)
    right, control = calibrate(
        arguments.scenes, arguments.seed, through_sound_codec if arguments.sound_codec else true_clip
    )
    for name in right:
        sys.stdout.write(f"{name:10} {right[name]!s:42} shuffled: {control[name]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
