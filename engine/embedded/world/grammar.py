"""Says in words what a scene shows, in many ways: `a red ball moving right`, `一个绿色的球向左移动`.

Colour, shape and motion are always said; size, speed and background often. What is not said may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from engine.embedded.world.face_words import FACE_COLOURS, FACE_SENTENCES
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.scene import Face, Scene, Thing
from engine.embedded.world.words import CHINESE, ENGLISH
from hhray.prompting import model_prompt
from hhray.request import Language

CHINESE_SHARE = 0.35
SAID_SHARE = 0.5  # of sizes, speeds, backgrounds
USUAL_SHARE = 0.6  # of names that are the first of their list
OWN_LANGUAGE_SHARE = 0.5  # of faces that are asked for in the language they speak
COMMA = "\uff0c"  # the Chinese one
LEADS = ("", "", "", "a video of ", "a clip of ", "we see ")


def prompt(scene: Scene, rng: Generator) -> str:
    """A prompt for the scene, one of its many."""
    if scene.face:
        return _face_prompt(scene.face, scene.background, rng)
    return _chinese(scene, rng) if rng.random() < CHINESE_SHARE else _english(scene, rng)


def plain_prompt(thing: Thing) -> str:
    """The shortest prompt for one thing, always the same: "a red ball moving right"."""
    colour, shape = ENGLISH.colours[thing.colour], ENGLISH.shapes[thing.shape][0]
    return f"{_article(colour)} {colour} {shape} {ENGLISH.motions[thing.motion][0]}"


def _english(scene: Scene, rng: Generator) -> str:
    things = " and ".join(_english_thing(thing, rng) for thing in scene.things)
    return _punctuated(_on_english_background(_pick(rng, LEADS) + things, scene.background, rng), rng)


def _english_thing(thing: Thing, rng: Generator) -> str:
    noun = f"{ENGLISH.colours[thing.colour]} {_usual(rng, ENGLISH.shapes[thing.shape])}"
    noun = f"{_sometimes(rng, ENGLISH.bulks[thing.bulk])} {noun}".strip()
    verb = f"{_usual(rng, ENGLISH.motions[thing.motion])} {_speed(thing, ENGLISH.speeds[thing.speed], rng)}".strip()
    return f"{_article(noun)} {noun} {verb}"


def _on_english_background(text: str, background: str, rng: Generator) -> str:
    if rng.random() >= SAID_SHARE:
        return text
    where = f"{_article(background)} {ENGLISH.backgrounds[background]} background"
    if rng.random() < 0.25:
        return f"on {where}, {text}"
    return f"{text} {_pick(rng, ('on', 'on', 'against', 'in front of'))} {where}"


def _chinese(scene: Scene, rng: Generator) -> str:
    things = _pick(rng, (COMMA, f"{COMMA}还有")).join(_chinese_thing(thing, rng) for thing in scene.things)
    if rng.random() >= SAID_SHARE:
        return things
    background = f"{CHINESE.backgrounds[scene.background]}背景"
    return _pick(rng, (f"在{background}上{COMMA}{things}", f"{things}{COMMA}{background}"))


def _chinese_thing(thing: Thing, rng: Generator) -> str:
    bulk, speed = _sometimes(rng, CHINESE.bulks[thing.bulk]), _speed(thing, CHINESE.speeds[thing.speed], rng)
    shape, motion = _usual(rng, CHINESE.shapes[thing.shape]), _usual(rng, CHINESE.motions[thing.motion])
    return f"一个{CHINESE.colours[thing.colour]}的{bulk}{shape}{speed}{motion}"


def _face_prompt(face: Face, background: str, rng: Generator) -> str:
    phrase = PHRASES[face.language][face.phrase].text
    if rng.random() < OWN_LANGUAGE_SHARE:
        sentence = _pick(rng, FACE_SENTENCES[face.language])
        return sentence.format(colour=FACE_COLOURS[face.language][face.colour], phrase=phrase)
    noun = _pick(rng, ("talking {} face", "{} face that talks", "{} face speaking")).format(face.colour)
    if rng.random() < 0.5:
        shown = _on_english_background(f"{_article(noun)} {noun}", background, rng)
        return model_prompt(shown, face.language, phrase)
    said = f'{_article(noun)} {noun}, saying "{phrase}" in {Language(face.language)}'
    return _punctuated(_on_english_background(said, background, rng), rng)


def _speed(thing: Thing, names: Sequence[str], rng: Generator) -> str:
    """How fast it moves; nothing is slow at standing still."""
    return "" if thing.motion == "still" else _sometimes(rng, names)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _punctuated(text: str, rng: Generator) -> str:
    """Sometimes as a sentence is written."""
    return f"{text[0].upper()}{text[1:]}." if rng.random() < 0.3 else text


def _sometimes(rng: Generator, names: Sequence[str]) -> str:
    said = rng.random() < SAID_SHARE
    return _pick(rng, names) if said and names else ""


def _usual(rng: Generator, names: Sequence[str]) -> str:
    return names[0] if rng.random() < USUAL_SHARE else _pick(rng, names)


def _pick(rng: Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]
