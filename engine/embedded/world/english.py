"""Things and backgrounds in English sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.random import Generator

from engine.embedded.world.chance import joined, pick, sometimes, usual
from engine.embedded.world.sampling import COLUMNS, ROWS
from engine.embedded.world.scene import Bulk, Lane, Motion, Speed, Thing
from engine.embedded.world.words import COURSES, ENGLISH, MOVES

LEADS = ("a video of ", "a clip of ", "we see ", "there is ", "an animation of ")
AND = (*(" and ",) * 5, ", ", ", and ", " while ", "; ", ", with ", " as well as ", " plus ")
DETERMINERS = ("the ", "one ", "1 ", "a single ", "", "", "")
SAID_USUAL_SHARE = 0.08  # of sizes and speeds that go without saying
PLACE_SHARE = 0.15  # of pairs whose sides are said
PLACES: dict[Lane, tuple[str, ...]] = {
    ROWS[0]: ("at the top", "in the upper half", "above"),
    ROWS[1]: ("at the bottom", "in the lower half", "below"),
    COLUMNS[0]: ("on the left", "on the left side", "at the left"),
    COLUMNS[1]: ("on the right", "on the right side", "at the right"),
}

Noun = Callable[[Thing], str]


def article(noun: str) -> str:
    """a or an."""
    return "an" if noun[:1] in "aeiou" else "a"


def noun(thing: Thing, rng: Generator, omitted: frozenset[str] = frozenset()) -> str:
    """ "a small red ball"; `omitted` of "shape" and "colour" are not said."""
    shape = "thing" if "shape" in omitted else usual(rng, ENGLISH.shapes[thing.shape])
    colour = "" if "colour" in omitted else usual(rng, ENGLISH.colours[thing.colour])
    bulk = bulk_word(thing, rng)
    form = rng.random()
    if form < 0.78 or not colour:
        named = joined(*((bulk, colour) if sometimes(rng, 0.85) else (colour, bulk)), shape)
    elif form < 0.86:
        named = joined(bulk, f"{colour}{pick(rng, ('-coloured', ' coloured', '-colored', ' color', ' colour'))}", shape)
    else:
        said = pick(rng, (f"that is {colour}", f"which is {colour}", f"in {colour}", f", {colour}, "))
        named = joined(bulk, shape, said).replace(" ,", ",").replace(",  ", ", ").rstrip()
    return determined(named, rng)


def bulk_word(thing: Thing, rng: Generator) -> str:
    """ "small", or nothing for what goes without saying."""
    if thing.bulk is Bulk.MEDIUM and not sometimes(rng, SAID_USUAL_SHARE):
        return ""
    return usual(rng, ENGLISH.bulks[thing.bulk])


def determined(named: str, rng: Generator) -> str:
    """With an article, mostly."""
    if sometimes(rng, 0.7):
        return f"{article(named)} {named}"
    return f"{pick(rng, DETERMINERS)}{named}"


def clause(noun_words: str, thing: Thing, rng: Generator, place: str = "", *, alone: bool = False) -> str:
    """What a thing does: "a red ball moving right"; `place` is "on the left", or nothing."""
    doing, speed = usual(rng, ENGLISH.motions[thing.motion]), _speed_word(thing, rng)
    verb = _verb(doing, speed, rng)
    if place:
        return _placed(noun_words, verb, place, rng)
    form = rng.random()
    if form < 0.58:
        return f"{noun_words} {verb}"
    if form < 0.8 and thing.motion in MOVES:
        moves = _verb(pick(rng, MOVES[thing.motion]), speed, rng)
        return pick(rng, (f"{noun_words} {moves}", f"{noun_words} that {moves}", f"{noun_words} is {verb}"))
    if form < 0.9:
        return f"{noun_words}, {joined(_adjective(thing, rng) if speed else '', pick(rng, COURSES[thing.motion]))}"
    forms = (f"{noun_words}, {verb}", f"{verb}, {noun_words}", f"{verb}: {noun_words}")
    return pick(rng, forms) if alone else forms[0]


def in_english(things: Sequence[Thing], rng: Generator, say: Noun) -> str:
    """One or two things; `say` gives their nouns. The first is the upper or left one unless the places are said."""
    if len(things) == 1:
        return clause(say(things[0]), things[0], rng, alone=True)
    first, second = things
    if (first.motion, first.speed) == (second.motion, second.speed) and sometimes(rng, 0.5):
        verb = _verb(usual(rng, ENGLISH.motions[first.motion]), _speed_word(first, rng), rng)
        return f"{say(first)} and {say(second)}{pick(rng, (', both ', ' both ', ' are ', ' '))}{verb}"
    if not sometimes(rng, PLACE_SHARE):
        return pick(rng, AND).join(clause(say(thing), thing, rng) for thing in things)
    ordered = things if sometimes(rng, 0.5) else things[::-1]
    return pick(rng, AND).join(clause(say(one), one, rng, pick(rng, PLACES[one.lane])) for one in ordered)


def on_background(text: str, background: str, rng: Generator) -> str:
    """The text with a background said before or behind it."""
    name = usual(rng, ENGLISH.backgrounds[background])
    where = f"{article(name)} {name} background"
    form = rng.random()
    if form < 0.2:
        return f"{pick(rng, ('on', 'on', 'against', 'over'))} {where}, {text}"
    if form < 0.75:
        return f"{text} {pick(rng, ('on', 'on', 'on', 'against', 'in front of', 'over', 'with'))} {where}"
    behind = (f"{name} background", f"background: {name}", f"the background is {name}", f"the background {name}")
    return f"{text}{pick(rng, (', ', '. ', '; '))}{pick(rng, behind)}"


def _verb(verb: str, speed: str, rng: Generator) -> str:
    before = speed and " " not in speed and speed.endswith("ly") and sometimes(rng, 0.35)
    return f"{speed} {verb}" if before else joined(verb, speed)


def _speed_word(thing: Thing, rng: Generator) -> str:
    """How fast it moves; nothing is slow at standing still."""
    if thing.motion is Motion.STILL:
        return ""
    if thing.speed is Speed.NORMAL and not sometimes(rng, SAID_USUAL_SHARE):
        return ""
    return usual(rng, ENGLISH.speeds[thing.speed])


def _adjective(thing: Thing, rng: Generator) -> str:
    return pick(rng, {Speed.SLOW: ("slow",), Speed.NORMAL: ("normal",), Speed.FAST: ("fast", "quick")}[thing.speed])


def _placed(noun_words: str, verb: str, place: str, rng: Generator) -> str:
    forms = (f"{noun_words} {place} {verb}", f"{place} {noun_words} {verb}", f"{noun_words} {place}, {verb}")
    return pick(rng, (*forms, f"{noun_words} {verb} {place}"))
