"""Things and backgrounds in Chinese sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.random import Generator

from engine.embedded.world.chance import pick, sometimes, usual
from engine.embedded.world.english import PLACE_SHARE, SAID_USUAL_SHARE
from engine.embedded.world.sampling import COLUMNS, ROWS
from engine.embedded.world.scene import Bulk, Lane, Motion, Speed, Thing
from engine.embedded.world.words import CHINESE

COMMA = "\uff0c"  # the Chinese one
AND = (COMMA, f"{COMMA}还有", "和", f"{COMMA}以及", "、", "。", "同时")
COUNTS = ("一个", "一个", "一个", "一颗", "1个", "一只", "", "有一个")
PLACES: dict[Lane, tuple[str, ...]] = {
    ROWS[0]: ("上面", "上方"),
    ROWS[1]: ("下面", "下方"),
    COLUMNS[0]: ("左边", "左侧"),
    COLUMNS[1]: ("右边", "右侧"),
}

# Characters of these words as Hong Kong and Taiwan write them.
TRADITIONAL = str.maketrans(
    "红黄绿蓝圆块爱环动弹转变长静着条纹浅个颗还视频请画换颜脸说话谢圈钻号从运飞缓蹦来张边这里图为",
    "紅黃綠藍圓塊愛環動彈轉變長靜著條紋淺個顆還視頻請畫換顏臉說話謝圈鑽號從運飛緩蹦來張邊這裡圖為",
)


def noun(thing: Thing, rng: Generator, omitted: frozenset[str] = frozenset()) -> str:
    """ "一个红色的小球"; `omitted` of "shape" and "colour" are not said."""
    shape = "东西" if "shape" in omitted else usual(rng, CHINESE.shapes[thing.shape])
    colour = "" if "colour" in omitted else usual(rng, CHINESE.colours[thing.colour])
    joint = "" if not colour or sometimes(rng, 0.25) else "的"
    bulk = bulk_word(thing, rng)
    count = pick(rng, COUNTS)
    if bulk.endswith("的") and sometimes(rng, 0.5):
        return f"{count}{bulk}{colour}{joint}{shape}"
    return f"{count}{colour}{joint}{bulk}{shape}"


def bulk_word(thing: Thing, rng: Generator) -> str:
    """ "小", or nothing for what goes without saying."""
    if thing.bulk is Bulk.MEDIUM and not sometimes(rng, SAID_USUAL_SHARE):
        return ""
    return usual(rng, CHINESE.bulks[thing.bulk])


def clause(noun_words: str, thing: Thing, rng: Generator) -> str:
    """What a thing does."""
    motion = usual(rng, CHINESE.motions[thing.motion])
    said = thing.speed is not Speed.NORMAL or sometimes(rng, SAID_USUAL_SHARE)
    speed = usual(rng, CHINESE.speeds[thing.speed]) if said and thing.motion is not Motion.STILL else ""
    return f"{noun_words}{pick(rng, ('', '', '', '正在', '在', COMMA))}{speed}{motion}"


def in_chinese(things: Sequence[Thing], rng: Generator, say: Callable[[Thing], str]) -> str:
    """One or two things; `say` gives their nouns. The first is the upper or left one unless the places are said."""
    if len(things) == 1:
        return clause(say(things[0]), things[0], rng)
    first, second = things
    if (first.motion, first.speed) == (second.motion, second.speed) and sometimes(rng, 0.4):
        return clause(f"{say(first)}和{say(second)}{pick(rng, ('', '都'))}", first, rng)
    if not sometimes(rng, PLACE_SHARE):
        return pick(rng, AND).join(clause(say(thing), thing, rng) for thing in things)
    ordered = things if sometimes(rng, 0.5) else things[::-1]
    joint = pick(rng, ("是", "有", "的"))
    return COMMA.join(f"{pick(rng, PLACES[one.lane])}{joint}{clause(say(one), one, rng)}" for one in ordered)


def on_background(text: str, background: str, rng: Generator) -> str:
    """The text with a background said before or behind it."""
    behind = f"{usual(rng, CHINESE.backgrounds[background])}背景"
    is_so = f"背景{pick(rng, ('是', '为', ''))}{usual(rng, CHINESE.backgrounds[background])}"
    forms = (f"在{behind}上{COMMA}{text}", f"{text}{COMMA}{behind}", f"在{behind}前{text}", f"{behind}{COMMA}{text}")
    return pick(rng, (*forms, f"{text}{COMMA}{is_so}", f"{text}。{is_so}"))
