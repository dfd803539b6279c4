"""Says how a source video is to be changed: "make it blue", `背景换成黑色`."""

from __future__ import annotations

from numpy.random import Generator

from engine.embedded.world.chance import pick, sometimes, usual
from engine.embedded.world.chinese import COMMA, TRADITIONAL
from engine.embedded.world.english import article
from engine.embedded.world.words import CHINESE, ENGLISH

COLOUR_EDITS = (
    *("make {it} {colour}", "make {it} {colour}", "turn {it} {colour}", "paint {it} {colour}", "colour {it} {colour}"),
    *("change the colour to {colour}", "change the color to {colour}", "change the colour of {it} to {colour}"),
    *("{a_colour} {shape} instead", "{a_colour} one instead", "{colour} instead", "recolour {it} {colour}"),
    *("{it} should be {colour}", "change {it} to {colour}", "{it} becomes {colour}", "{it} is {colour} now"),
    *("replace {it} with {a_colour} {shape}", "replace {it} by {a_colour} one", "{colour} instead of {other}"),
    *("change {it} from {other} to {colour}", "turn the {other} {shape} into {a_colour} one", "{colour}"),
    *("make the {other} {shape} {colour}", "{it} in {colour}", "new colour: {colour}", "color {it} {colour}"),
    *("use {colour} for {it}", "give {it} {a_colour} colour", "the colour is {colour}", "into {a_colour} {shape}"),
)
BACKGROUND_EDITS = (
    *("on {a_background} background", "change the background to {background}", "make the background {background}"),
    *("{a_background} background instead", "with {a_background} background", "{background} background"),
    *("replace the background with {a_background} one", "put {it} on {a_background} background"),
    *("change the background from {behind} to {background}", "the background should be {background}"),
    *("turn the background {background}", "set the background to {background}", "background: {background}"),
    *("use {a_background} background", "give it {a_background} background", "in front of {a_background} background"),
    *("{background} background instead of {behind}", "the background becomes {background}"),
)
BOTH_EDITS = (
    *("make {it} {colour} on {a_background} background", "turn {it} {colour} and the background {background}"),
    *("{a_colour} {shape} on {a_background} background instead", "{colour}, {background} background"),
    *("make {it} {colour} and the background {background}", "{it} {colour}, the background {background}"),
)
CHINESE_COLOUR_EDITS = (
    *("把它变成{colour}", "把{shape}改成{colour}", "换成{colour}的{shape}", "颜色改为{colour}"),
    *("变成{colour}", "把颜色换成{colour}", "把{shape}变成{colour}的", "让它变{colour}"),
    *("改成{colour}", "把{other}的{shape}变成{colour}", "将{shape}的颜色改为{colour}"),
    *("把它涂成{colour}", "将{other}换成{colour}", "{shape}要{colour}的", "染成{colour}"),
)
CHINESE_BACKGROUND_EDITS = (
    *("背景换成{background}", "把背景改成{background}", "在{background}背景上"),
    *("背景变成{background}", "{background}背景", "将背景改为{background}"),
    *("换成{background}背景", "把背景从{behind}换成{background}", "用{background}的背景"),
    *("背景要{background}", "让背景变{background}", "背景设为{background}"),
)


def edit_in_english(colour: str | None, background: str | None, rng: Generator) -> str:
    """A change of the things' colour, of the background, or of both; None for what stays."""
    shape = usual(rng, ENGLISH.shapes[pick(rng, tuple(ENGLISH.shapes))])
    other, behind = pick(rng, tuple(ENGLISH.colours)), pick(rng, tuple(ENGLISH.backgrounds))
    words = {
        "it": pick(rng, ("it", "it", f"the {shape}", "the thing", "this", "the object", f"the {other} {shape}")),
        "shape": shape,
        "other": other,
        "behind": behind,
    }
    for name, value, names in (
        ("colour", colour, ENGLISH.colours),
        ("background", background, ENGLISH.backgrounds),
    ):
        word = usual(rng, names[value]) if value else ""
        words |= {name: word, f"a_{name}": f"{article(word)} {word}"}
    text = _template(colour, background, (COLOUR_EDITS, BACKGROUND_EDITS, BOTH_EDITS), " and ", rng).format(**words)
    return f"{text[0].upper()}{text[1:]}." if sometimes(rng, 0.3) else text


def edit_in_chinese(colour: str | None, background: str | None, rng: Generator) -> str:
    """The same in Chinese."""
    words = {
        "shape": usual(rng, CHINESE.shapes[pick(rng, tuple(CHINESE.shapes))]),
        "other": usual(rng, CHINESE.colours[pick(rng, tuple(CHINESE.colours))]),
        "behind": usual(rng, CHINESE.backgrounds[pick(rng, tuple(CHINESE.backgrounds))]),
        "colour": usual(rng, CHINESE.colours[colour]) if colour else "",
        "background": usual(rng, CHINESE.backgrounds[background]) if background else "",
    }
    kinds = (CHINESE_COLOUR_EDITS, CHINESE_BACKGROUND_EDITS, ())
    text = _template(colour, background, kinds, COMMA, rng).format(**words)
    return text.translate(TRADITIONAL) if sometimes(rng, 0.1) else text


def _template(
    colour: str | None, background: str | None, kinds: tuple[tuple[str, ...], ...], joint: str, rng: Generator
) -> str:
    """A template for what changes; both changes also one after the other."""
    colours, backgrounds, both = kinds
    if colour and background:
        if both and sometimes(rng, 0.4):
            return pick(rng, both)
        parts = [pick(rng, colours), pick(rng, backgrounds)]
        if sometimes(rng, 0.3):
            parts.reverse()
        return pick(rng, (joint, ", ", joint)).join(parts)
    return pick(rng, colours if colour else backgrounds)
