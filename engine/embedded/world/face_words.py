"""How a talking face is asked for in each of the seven languages: `{colour}` and `{phrase}` are filled in."""

from __future__ import annotations

from engine.embedded.world.palette import COLOURS
from hhray.request import Language


def _colours(*names: str) -> dict[str, str]:
    return dict(zip(COLOURS, names, strict=True))


FACE_COLOURS = {
    Language.ENGLISH: _colours("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    Language.MANDARIN: _colours("红色", "橙色", "黄色", "绿色", "青色", "蓝色", "紫色", "粉色"),
    Language.CANTONESE: _colours("紅色", "橙色", "黃色", "綠色", "青色", "藍色", "紫色", "粉紅色"),
    Language.JAPANESE: _colours("赤い", "オレンジ色の", "黄色い", "緑の", "水色の", "青い", "紫の", "ピンクの"),
    Language.KOREAN: _colours("빨간", "주황색", "노란", "초록색", "하늘색", "파란", "보라색", "분홍색"),
    Language.GERMAN: _colours("rotes", "oranges", "gelbes", "grünes", "türkises", "blaues", "lila", "rosa"),
    Language.FRENCH: _colours("rouge", "orange", "jaune", "vert", "turquoise", "bleu", "violet", "rose"),
}

# With the words that are said.
FACE_SENTENCES = {
    Language.ENGLISH: (
        'a {colour} face says "{phrase}"',
        'a talking {colour} face saying "{phrase}"',
        '{colour} face, talking: "{phrase}"',
        "a {colour} face saying {phrase}",
        "{phrase}, says a {colour} face",
    ),
    Language.MANDARIN: (
        "一张{colour}的脸说“{phrase}”",
        "一张{colour}的脸在说话：“{phrase}”",  # noqa: RUF001
        "{colour}的脸说{phrase}",
    ),
    Language.CANTONESE: (
        "一張{colour}嘅面講「{phrase}」",
        "一塊{colour}嘅面講緊嘢：「{phrase}」",  # noqa: RUF001
        "{colour}嘅面講{phrase}",
    ),
    Language.JAPANESE: (
        "{colour}顔が「{phrase}」と言う",
        "{colour}顔が「{phrase}」と話している",
        "{colour}顔が{phrase}と言っている",
    ),
    Language.KOREAN: (
        '{colour} 얼굴이 "{phrase}"라고 말한다',
        '말하는 {colour} 얼굴: "{phrase}"',
        "{colour} 얼굴이 {phrase}라고 말해요",
    ),
    Language.GERMAN: (
        'ein {colour} Gesicht sagt "{phrase}"',
        "ein sprechendes {colour} Gesicht: „{phrase}“",
        "ein {colour} Gesicht sagt {phrase}",
    ),
    Language.FRENCH: (
        'un visage {colour} dit "{phrase}"',
        "un visage {colour} qui parle : « {phrase} »",
        "un visage {colour} dit {phrase}",
    ),
}

# Without: the words are in a paragraph of their own.
FACES_SHOWN = {
    Language.ENGLISH: ("a {colour} face talks", "a {colour} face is talking", "a face in {colour} that speaks"),
    Language.MANDARIN: ("一张{colour}的脸在说话", "一张会说话的{colour}的脸", "{colour}的脸"),
    Language.CANTONESE: ("一張{colour}嘅面講緊嘢", "{colour}嘅面"),
    Language.JAPANESE: ("{colour}顔が話している", "話す{colour}顔"),
    Language.KOREAN: ("{colour} 얼굴이 말한다", "말하는 {colour} 얼굴"),
    Language.GERMAN: ("ein sprechendes {colour} Gesicht", "ein {colour} Gesicht spricht"),
    Language.FRENCH: ("un visage {colour} qui parle", "un visage {colour} parle"),
}

# In English, whatever is spoken.
FACE_NOUNS = (
    "talking {} face",
    "{} face that talks",
    "{} face speaking",
    "{} face",
    "{} talking head",
    "speaking {} face",
)
QUOTES = ('"{}"', '"{}"', "'{}'", "{}", "“{}”")
