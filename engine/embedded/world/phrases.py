"""What faces say: a fixed set of phrases in each language, with the syllables they are spoken in.

A syllable is written in Latin letters; its vowel decides the timbre and how far the mouth opens, a digit behind it (for
the tonal languages) its pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

from hhray.request import Language


@dataclass(frozen=True, slots=True)
class Phrase:
    """Text as it is written, and its syllables separated by spaces."""

    text: str
    syllables: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How a language is spoken here: its lowest pitch in Hz (a multiple of 25) and seconds to a syllable."""

    pitch: int
    syllable: float


MANNERS = {
    Language.ENGLISH: Manner(125, 0.24),
    Language.MANDARIN: Manner(150, 0.28),
    Language.CANTONESE: Manner(175, 0.24),
    Language.JAPANESE: Manner(200, 0.18),
    Language.KOREAN: Manner(150, 0.2),
    Language.GERMAN: Manner(100, 0.28),
    Language.FRENCH: Manner(175, 0.2),
}


def _phrases(*spoken: tuple[str, str]) -> tuple[Phrase, ...]:
    return tuple(Phrase(text, syllables) for text, syllables in spoken)


PHRASES: dict[Language, tuple[Phrase, ...]] = {
    Language.ENGLISH: _phrases(
        ("hello", "he lo"),
        ("good morning", "gu mo ning"),
        ("thank you", "thank yu"),
        ("how are you", "ha wa yu"),
        ("see you tomorrow", "si yu tu mo ro"),
        ("banana", "ba na na"),
    ),
    Language.MANDARIN: _phrases(
        ("你好", "ni2 ha3"),
        ("谢谢", "xe4 xe1"),
        ("早上好", "za3 sha4 ha3"),
        ("再见", "za4 jan4"),
        ("我爱你", "wo3 a4 ni3"),
        ("妈妈", "ma1 ma1"),
    ),
    Language.CANTONESE: _phrases(
        ("早晨", "zo2 san4"),
        ("多謝", "do1 ze6"),
        ("你好嗎", "nei5 ho2 ma3"),
        ("唔該", "m4 goi1"),
        ("再見", "zoi3 gin3"),
        ("食咗飯未", "sik6 zo2 fan6 mei6"),
    ),
    Language.JAPANESE: _phrases(
        ("こんにちは", "ko n ni chi wa"),
        ("ありがとう", "a ri ga to u"),
        ("おはよう", "o ha yo u"),
        ("さようなら", "sa yo u na ra"),
        ("すみません", "su mi ma se n"),
        ("さくら", "sa ku ra"),
    ),
    Language.KOREAN: _phrases(
        ("안녕하세요", "an nyo ha se yo"),
        ("감사합니다", "gam sa ham ni da"),
        ("사랑해요", "sa ra he yo"),
        ("안녕", "an nyo"),
        ("미안해요", "mi an he yo"),
        ("어머니", "o mo ni"),
    ),
    Language.GERMAN: _phrases(
        ("hallo", "ha lo"),
        ("guten Morgen", "gu ten mo gen"),
        ("danke schön", "dan ke shon"),
        ("auf Wiedersehen", "auf vi der sen"),
        ("wie geht es dir", "vi get es dir"),
        ("Mutter", "mu ter"),
    ),
    Language.FRENCH: _phrases(
        ("bonjour", "bon ju"),
        ("merci beaucoup", "mer si bo ku"),
        ("au revoir", "o re vwa"),
        ("comment ça va", "ko man sa va"),
        ("je t'aime", "zhe tem"),
        ("maman", "ma man"),
    ),
}
