"""What the transformer is taught in a step: a batch of one kind, noised, and which of its velocities count.

Clips from text, from a first frame and to given sound have one shape and are mixed. Reference pictures and source
videos are clean segments behind the text (engine.segments), so that these are batches of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator as Random
from torch import Generator, Tensor

from engine.embedded.codecs.fields import NUM_USED, fields
from engine.embedded.meaning import Wish, figure_name, meaning
from engine.embedded.training.examples import Example, stacked
from engine.embedded.training.flow import Noised, levels, noised, to_tokens
from engine.embedded.training.packed import PackedBatch
from engine.embedded.world.canvas import Canvas
from engine.embedded.world.grammar import USUAL_BACKGROUND
from engine.embedded.world.palette import BACKGROUNDS, COLOURS
from engine.embedded.world.scene import Bulk, Motion, Scene, Thing
from engine.embedded.world.shapes import OUTLINES
from engine.model.stream import ItemShape, Modality, SegmentShape
from engine.segments import REFERENCE_GAP, SOURCE_OFFSET
from hhray.geometry import PATCH, LatentGrid, Size

SOUND_SHARE = 0.06
CODEC_ERROR = 0.12  # of what a codec reads from pictures, against what they show; in latent units
# the longer side of a reference is that of the clip
SHAPES_OF_PICTURES = (Size(160, 160), Size(160, 96), Size(160, 128), Size(96, 160))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A batch, and its targets: velocities of video [B, 48, T, h, w] and audio [B, A, 64]; weights of what counts, of
    shapes [B, 1, T, 1, 1] and [B, 1, 1]. `noised` is what the batch's first two parts were made of:
    what has no weight is given, and there as it is."""

    batch: PackedBatch
    noised: Noised
    video_weight: Tensor
    audio_weight: Tensor
    sigma: Tensor

    def to(self, device: torch.device) -> Lesson:
        """The same on a device."""
        parts = tuple(part.to(device) for part in self.batch.parts)
        one = self.noised
        moved = Noised(*(each.to(device) for each in (one.video, one.audio, one.clean_video, one.clean_audio)))
        weights = self.video_weight.to(device), self.audio_weight.to(device)
        return Lesson(replace(self.batch, parts=parts), moved, *weights, self.sigma)


def plain(examples: Sequence[Example], random: Random, generator: Generator) -> Lesson:
    """Clips from text; some go with given sound."""
    sounded = torch.from_numpy(random.random(len(examples)) < SOUND_SHARE)
    return _lesson(examples, [], [], generator, sounded=sounded)


def begun(examples: Sequence[Example], random: Random, generator: Generator) -> Lesson:
    """Clips that begin with a given frame, which is right whatever size and background the prompt says."""
    told = [replace(one, text=meaning(Wish(_missaid(one.scene, random)))) for one in examples]
    return _lesson(told, [], [], generator, begins=True)


def referring(examples: Sequence[Example], random: Random, generator: Generator) -> Lesson:
    """Clips of things that are shown in one or two pictures; no faces."""
    count = int(random.integers(1, 3))
    size = SHAPES_OF_PICTURES[int(random.integers(len(SHAPES_OF_PICTURES)))]
    pictures, texts = [], []
    for one in examples:
        figures, shown = _figures(one.scene, count, random)
        pictures.append(np.concatenate([_picture(thing, size, random) for thing in shown], axis=1))
        texts.append(meaning(Wish(one.scene, figures)))
    told = [replace(one, text=text) for one, text in zip(examples, texts, strict=True)]
    clean = _misread(stacked(pictures), generator)
    frames = examples[0].video.shape[1]
    shapes, parts = [], []
    for index in range(clean.shape[2]):
        grid = (1, size.height // 32, size.width // 32)
        time = frames + REFERENCE_GAP + index
        name = torch.from_numpy(figure_name(index + 1)[:1]).expand(len(examples), 1, -1)
        shapes += [
            SegmentShape(Modality.TEXT, (1, 1, 1), (time, -1, -1), extent=grid),
            SegmentShape(Modality.VIDEO, grid, (time, 0, 0)),
        ]
        parts += [name, to_tokens(clean[:, :, index : index + 1])]
    return _lesson(told, shapes, parts, generator)


def editing(examples: Sequence[Example], canvas: Canvas, random: Random, generator: Generator) -> Lesson:
    """Clips made from a source video that differs in the colour of its thing or face, in its background, or in both."""
    told, sources = [], []
    for one in examples:
        source, wish = _changed(one.scene, random)
        told.append(replace(one, text=meaning(wish)))
        sources.append(fields(source, one.video.shape[1], canvas))
    clean = _misread(stacked(sources), generator)
    _, _, frames, height, width = clean.shape
    shape = SegmentShape(Modality.VIDEO, (frames, height // PATCH, width // PATCH), (SOURCE_OFFSET, 0, 0))
    return _lesson(told, [shape], [to_tokens(clean)], generator)


def _lesson(
    examples: Sequence[Example],
    shapes: Sequence[SegmentShape],
    parts: Sequence[Tensor],
    generator: Generator,
    begins: bool = False,
    sounded: Tensor | None = None,
) -> Lesson:
    count = len(examples)
    held = torch.zeros(count, dtype=torch.bool) if sounded is None else sounded
    video, audio = stacked([one.video for one in examples]), stacked([one.audio for one in examples])
    sigma = levels(count, generator)
    one = noised(video, audio, sigma, generator)
    moving, heard = one.video.clone(), one.audio.clone()
    heard[held] = audio[held]
    frames = torch.ones(count, video.shape[2])
    if begins:
        moving[:, :, :1] = _misread(video[:, :, :1], generator)
        frames[:, 0] = 0
    grid = LatentGrid(*video.shape[2:])
    shape = ItemShape(grid, audio.shape[1], len(examples[0].text), tuple(shapes))
    batch = PackedBatch(shape, (to_tokens(moving), heard, stacked([each.text for each in examples]), *parts))
    one = replace(one, video=moving, audio=heard)
    return Lesson(batch, one, frames[:, None, :, None, None], (~held).float()[:, None, None], sigma)


def _misread(clean: Tensor, generator: Generator) -> Tensor:
    """Latents as a codec reads them: about right, nothing in the spare channels."""
    noise = CODEC_ERROR * torch.randn(clean.shape, generator=generator)
    noise[:, NUM_USED:] = 0
    return clean + noise


def _missaid(scene: Scene, random: Random) -> Scene:
    """With other sizes and another background: what a prompt leaves out its encoder takes for usual, and the picture
    shows what it is. It does not show how fast things are."""
    things = tuple(replace(thing, bulk=tuple(Bulk)[int(random.integers(len(Bulk)))]) for thing in scene.things)
    return replace(scene, things=things, background=str(random.choice([USUAL_BACKGROUND, *BACKGROUNDS])))


def _figures(scene: Scene, count: int, random: Random) -> tuple[tuple[int, ...], tuple[Thing, ...]]:
    """Which picture shows which thing (0: none), and what the `count` pictures show."""
    things = scene.things
    if count == 1:
        shown = int(random.integers(len(things)))
        return tuple(int(place == shown) for place in range(len(things))), (things[shown],)
    if len(things) == 1:
        other = replace(things[0], shape=_other(OUTLINES, things[0].shape, random))
        other = replace(other, colour=_other(COLOURS, other.colour, random))
        return ((1,), (things[0], other)) if random.random() < 0.5 else ((2,), (other, things[0]))
    kind = int(random.integers(4))
    return (((1, 2), things), ((2, 1), things[::-1]), ((1, 0), things), ((0, 2), things))[kind]


def _other(names: Iterable[str], name: str, random: Random) -> str:
    return str(random.choice([one for one in names if one != name]))


def _picture(thing: Thing, size: Size, random: Random) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A picture of a thing at any place and of any size, as a latent [48, 1, h, w]."""
    bulk = tuple(Bulk)[int(random.integers(3))]
    alone = Thing(thing.shape, thing.colour, Motion.GROW, bulk=bulk, start=random.random(), across=random.random())
    background = str(random.choice(list(BACKGROUNDS)))
    return fields(Scene((alone,), background=background), 1, Canvas(size, size.aspect), int(random.integers(20, 76)))


def _changed(scene: Scene, random: Random) -> tuple[Scene, Wish]:
    """A scene that becomes `scene` by a wish: the first thing or the face had another colour, another background."""
    kind = int(random.integers(4))
    recoloured, moved = kind != 1, kind in (1, 2)
    source = scene
    now = scene.face.colour if scene.face else scene.things[0].colour
    if recoloured:
        before = _other(COLOURS, now, random)
        if scene.face:
            source = replace(source, face=replace(scene.face, colour=before))
        else:
            source = replace(source, things=(replace(scene.things[0], colour=before), *scene.things[1:]))
    if moved:
        source = replace(source, background=_other(BACKGROUNDS, scene.background, random))
    return source, Wish(scene, (), now if recoloured else None, scene.background if moved else None)
