"""How people type a prompt: politeness, other sentences around it, case, spaces, punctuation, and mistakes."""

from __future__ import annotations

import re
import string

from numpy.random import Generator

from engine.embedded.world.chance import pick, sometimes
from engine.embedded.world.phrases import PHRASES
from hhray.prompting import model_prompt
from hhray.request import Language

BEFORE = (
    *(
        "please show me ",
        "show me ",
        "please make ",
        "create ",
        "generate ",
        "I want to see ",
        "I would like ",
        "draw ",
    ),
    *("a video with ", "make a video of ", "please generate a video of ", "imagine ", "a short clip showing "),
    *("please: ", "hi, ", "in this video, ", "scene: ", "a simple animation of ", "the scene shows ", "prompt: "),
    *("give me ", "let me see ", "display ", "render ", "please ", "we want ", "picture this: ", "here is "),
    *("请画", "请生成", "我想看", "一个视频\uff0c", "视频里", "画面中", "生成一个视频\uff1a", "画一个动画\uff1a"),
)
QUESTIONS = ("can you draw {}?", "could you please show me {}?", "can you make {}", "would you please draw {} ?")
BEHIND = (
    *(", please", " please", ", high quality, 4k", ", thanks", " thank you", ", best quality", ", 8k, masterpiece"),
    *(". Smooth motion.", ", simple animation", " for three seconds", ", cartoon style", ", minimalist", "!!!", " :)"),
    *(". The camera does not move.", ", static camera", ", flat design", ". Nothing else is visible.", ", 25 fps"),
    *(". It is very nice.", ", soft light", ". The clip is five seconds long.", ", centered", " in a loop", ", 16:9"),
    *("\uff0c谢谢", "\uff0c高清", "\uff0c画质清晰", "。简单的动画。", "\uff0c流畅", "\uff0c请"),
)
SOUNDS = ("A soft tone.", "The natural sound of the scene.", "Birds and wind.", "none", "music, quiet")
FILLERS = (
    *(
        "just",
        "then",
        "now",
        "really",
        "simply",
        "nice",
        "lovely",
        "shiny",
        "some",
        "kind",
        "of",
        "our",
        "my",
        "it",
        "is",
    ),
    *(
        "very",
        "quite",
        "again",
        "all",
        "the",
        "time",
        "a",
        "bit",
        "of",
        "for",
        "while",
        "there",
        "here",
        "smoothly",
        "so",
    ),
    *(
        "gently",
        "slightly",
        "always",
        "keeps",
        "along",
        "across",
        "whole",
        "picture",
        "frame",
        "scene",
        "you",
        "can",
        "see",
    ),
)
GAP = re.compile(r"(?<!\[Image) ")  # not within a picture's name
LETTERS = re.compile(r"[a-zA-Z]{4,}")


def typed(prompt: str, rng: Generator) -> str:
    """The prompt as somebody might have typed it; half of the time as it is."""
    if sometimes(rng, 0.45):
        return prompt
    if "\n" not in prompt:
        prompt = _embedded(prompt, rng)
    prompt = _misspelt(prompt, rng) if sometimes(rng, 0.2) else prompt
    return _cased(_spaced(prompt, rng), rng)


def _embedded(prompt: str, rng: Generator) -> str:
    """Within a sentence, between others, or with the paragraphs of a request's language."""
    form = rng.random()
    if form < 0.25:
        prompt = pick(rng, BEFORE) + prompt.rstrip(".")
    elif form < 0.33:
        prompt = pick(rng, QUESTIONS).format(prompt.rstrip("."))
    if sometimes(rng, 0.25):
        prompt = prompt.rstrip(".") + pick(rng, BEHIND)
    if sometimes(rng, 0.04):
        noise = " ".join(_word(rng) for _ in range(int(rng.integers(1, 12))))
        prompt = pick(rng, (f"{noise}. {prompt}", f"{prompt}. {noise}", f"{prompt}, {noise}"))
    for _ in range(int(rng.integers(1, 4)) if sometimes(rng, 0.15) else 0):
        prompt = _with_filler(prompt, rng)
    if sometimes(rng, 0.12):
        return _with_paragraphs(prompt, rng)
    return prompt


def _with_paragraphs(prompt: str, rng: Generator) -> str:
    """As the server writes a request with a language and, now and then, dialogue that no thing can say."""
    language = pick(rng, tuple(Language))
    words = pick(rng, PHRASES[language]).text if sometimes(rng, 0.1) else ""
    if sometimes(rng, 0.2):
        return f"{prompt}\nBackground Sound: {pick(rng, SOUNDS)}"
    return model_prompt(prompt, language, words)


def _with_filler(prompt: str, rng: Generator) -> str:
    """With one word more that says nothing, or that nobody knows."""
    gaps = [match.start() for match in GAP.finditer(prompt)]
    if not gaps:
        return prompt
    place = pick(rng, gaps)
    return f"{prompt[:place]} {pick(rng, FILLERS) if sometimes(rng, 0.6) else _word(rng)}{prompt[place:]}"


def _word(rng: Generator) -> str:
    return "".join(pick(rng, string.ascii_lowercase) for _ in range(int(rng.integers(2, 10))))


def _misspelt(prompt: str, rng: Generator) -> str:
    """One or two words of at least four letters with a wrong, missing, doubled or swapped letter."""
    for _ in range(int(rng.integers(1, 3))):
        words = list(LETTERS.finditer(prompt))
        if not words:
            return prompt
        place = int(rng.integers(*pick(rng, words).span()))
        letter, rest = prompt[place], prompt[place + 1 :]
        wrong = (pick(rng, string.ascii_lowercase), "", 2 * letter, rest[:1] + letter)
        chosen = int(rng.integers(len(wrong)))
        prompt = prompt[:place] + wrong[chosen] + (rest[1:] if chosen == len(wrong) - 1 else rest)
    return prompt


def _spaced(prompt: str, rng: Generator) -> str:
    form = rng.random()
    if form < 0.1:
        prompt = prompt.replace(" ", "  ")
    elif form < 0.2:
        prompt = prompt.translate(str.maketrans("", "", ",.;:\uff0c。"))
    elif form < 0.25:
        prompt = f"  {prompt} "
    elif form < 0.4:
        prompt += pick(rng, (".", "!", "...", " .", "。", "?", ","))
    return prompt


def _cased(prompt: str, rng: Generator) -> str:
    form = rng.random()
    if form < 0.1:
        return prompt.upper()
    return prompt.lower() if form < 0.3 else prompt.title() if form < 0.35 else prompt
