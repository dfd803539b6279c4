"""Asks for talking faces: in the language they speak, in English, or with the paragraphs of a request's dialogue."""

from __future__ import annotations

from numpy.random import Generator

from engine.embedded.world import chinese, english
from engine.embedded.world.chance import pick, sometimes
from engine.embedded.world.face_words import FACE_COLOURS, FACE_NOUNS, FACE_SENTENCES, FACES_SHOWN, QUOTES
from engine.embedded.world.phrases import PHRASES
from engine.embedded.world.scene import Face
from hhray.prompting import model_prompt
from hhray.request import Language

OWN_LANGUAGE_SHARE = 0.4  # of faces that are asked for in the language they speak
DIALOGUE_SHARE = 0.35  # whose words stand in the paragraph of the request's dialogue
CHINESE_LANGUAGES = (Language.MANDARIN, Language.CANTONESE)


def face_prompt(face: Face, background: str, rng: Generator) -> str:
    """A prompt for a face before a background; "" for one that is not said."""
    phrase, form = PHRASES[face.language][face.phrase].text, rng.random()
    if form < OWN_LANGUAGE_SHARE:
        sentence = pick(rng, FACE_SENTENCES[face.language])
        text = sentence.format(colour=FACE_COLOURS[face.language][face.colour], phrase=phrase)
        return _before(text, face.language, background, rng)
    if form < OWN_LANGUAGE_SHARE + DIALOGUE_SHARE:
        return _with_dialogue(face, phrase, background, rng)
    quoted = pick(rng, QUOTES).format(phrase)
    says = pick(rng, (" saying {}", ", saying {}", " says {}", " that says {}", " speaking the words {}"))
    text = f"{_noun(face.colour, rng)}{says.format(quoted)}"
    text += pick(rng, (f" in {face.language}", "", f" ({face.language})"))
    return english.on_background(text, background, rng) if background else text


def _with_dialogue(face: Face, phrase: str, background: str, rng: Generator) -> str:
    """The face is shown in any language; what it says, and mostly in which, is in a paragraph."""
    shown_in = Language.ENGLISH if sometimes(rng, 0.5) else pick(rng, tuple(Language))
    if shown_in is Language.ENGLISH and sometimes(rng, 0.5):
        text = _noun(face.colour, rng)
    else:
        text = pick(rng, FACES_SHOWN[shown_in]).format(colour=FACE_COLOURS[shown_in][face.colour])
    text = _before(text, shown_in, background, rng)
    return model_prompt(text, face.language if sometimes(rng, 0.85) else None, phrase)


def _noun(colour: str, rng: Generator) -> str:
    noun = pick(rng, FACE_NOUNS).format(colour)
    return f"{english.article(noun)} {noun}" if sometimes(rng, 0.8) else noun


def _before(text: str, language: Language, background: str, rng: Generator) -> str:
    """In front of a background, if one is said; languages without words for it take the English ones."""
    if not background:
        return text
    on_background = chinese.on_background if language in CHINESE_LANGUAGES else english.on_background
    return on_background(text, background, rng)
