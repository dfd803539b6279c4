"""The small text encoder: what it reads, what it answers, its file and its training."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.embedded
from engine.embedded.codecs.text import FILE, SpriteTextEncoder, features, padded, patterns
from engine.embedded.codecs.text_network import HEADS, NUM_OUTPUTS, TextNetwork
from engine.embedded.codecs.text_reading import MAX_PARTS, ROWS, plain, read
from engine.embedded.meaning import Wish, empty, figure_name, meaning
from engine.embedded.training import text_encoder
from engine.embedded.training.text_data import batches, found_outputs, right_outputs
from engine.embedded.training.text_training import STATE, TextTraining
from engine.embedded.wishes import ask
from engine.embedded.world.scene import Face, Motion, Scene, Thing
from hhray.errors import ConfigError
from hhray.prompting import model_prompt
from hhray.request import Language

WEIGHTS = Path(engine.embedded.__file__).parent / "weights"
shipped = pytest.mark.skipif(not (WEIGHTS / FILE).exists(), reason=f"the package ships no {FILE} yet")
SMALL = (8, 24, 1)  # sizes of a network for quick tests
HOSTILE = [
    "",
    "\0" * 5000,
    "\ud800 a lone surrogate",
    "🎈👩‍👩‍👧‍👦" * 700,
    "\u202e\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd\u202c" * 400,
    "\ufdfa" * 5000,  # one character that is eighteen when it is made plain
    " \n\t" * 1500 + "a red ball",
    "a" * 5000,
    "".join(chr(code) for code in range(1, 5001)),
]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return SpriteTextEncoder(TextNetwork())


@pytest.mark.parametrize("prompt", HOSTILE)
def test_any_text_gives_features_and_the_same_ones_again(encoder, prompt):
    words = read(prompt)
    assert 1 <= len(words) <= 200
    assert all(1 <= len(word) <= MAX_PARTS and all(0 < part < ROWS for part in word) for word in words)
    said = encoder.encode(prompt)
    assert said.shape == (4, 64)
    assert said.dtype == torch.float32
    assert said.isfinite().all()
    threads = torch.get_num_threads()
    assert torch.equal(said, encoder.encode(prompt))
    assert torch.get_num_threads() == threads


def test_case_spaces_and_wide_characters_are_read_alike():
    assert plain("  A Red\nBALL\0") == plain("a red ball") == plain("\uff41 red ball") == "a red ball"
    long = plain("a red ball " + "x" * 4000 + " says hello")
    assert long.startswith("a red ball ")
    assert long.endswith("says hello")


def test_words_that_are_misspelt_share_parts_and_characters_stand_alone():
    (right,), (wrong,), (other,) = read("triangle"), read("triagle"), read("blue")
    assert len(set(right) & set(wrong)) >= 4
    assert len(set(right) & set(other)) <= 1
    assert len(read("一个红色的球")) == 6
    assert len(read("[Image 12]")) == 5


def test_the_name_of_a_picture_is_its_figure(encoder):
    for number in range(1, 10):
        assert torch.equal(encoder.encode(f"<Figure {number}>"), torch.from_numpy(figure_name(number)))


def test_what_other_prompts_of_a_batch_are_does_not_matter(encoder):
    prompts = [read(text) for text in ("a red ball moving right", "some words " * 50, "一个绿色的球")]
    together = encoder.network(padded(prompts))
    for prompt, logits in zip(prompts, together, strict=True):
        alone = encoder.network(padded([prompt]))[0]
        torch.testing.assert_close(alone, logits, atol=1e-4, rtol=1e-4)


def test_sure_answers_are_exactly_what_is_meant():
    rng, allowed = np.random.default_rng(5), patterns()
    for _ in range(200):
        wish = ask(rng).wish
        logits = torch.zeros(len(HEADS), NUM_OUTPUTS)
        logits[range(len(HEADS)), right_outputs(wish)] = 20
        said = features(logits, allowed)
        torch.testing.assert_close(said, torch.from_numpy(meaning(wish)), atol=1e-4, rtol=0)
        assert found_outputs(said) == right_outputs(wish)


def test_unsure_answers_are_still_whole_and_what_is_off_is_zero():
    generator, allowed = torch.Generator().manual_seed(1), patterns()
    for _ in range(200):
        said = features(torch.randn(len(HEADS), NUM_OUTPUTS, generator=generator), allowed) - torch.from_numpy(empty())
        on = {(t, g.name): float(said[t, g.start : g.start + len(g.values)].sum()) for t, g in HEADS}
        assert all(total == 0 or abs(total - 2) < 1e-4 for total in on.values())
        for thing in (0, 1):
            there = on[thing, "motion"] > 0
            assert all((on[thing, name] > 0) == there for name in ("speed", "bulk", "lane"))
            assert on[thing, "shape"] == pytest.approx(on[thing, "colour"], abs=1e-4)
            assert (on[thing, "shape"] > 0) + (on[thing, "figure"] > 0) == there


def test_a_damaged_file_is_refused_and_named(tmp_path):
    with pytest.raises(ConfigError, match=FILE):
        SpriteTextEncoder.load(tmp_path)
    whole = {name: tensor.clone() for name, tensor in TextNetwork().state_dict().items()}
    save_file({**whole, "bias": whole["bias"][:-1]}, tmp_path / FILE)
    with pytest.raises(ConfigError, match=r"text\.safetensors: tensor bias is \[19, 10\], expected \[20, 10\].*copy"):
        SpriteTextEncoder.load(tmp_path)
    for name in ("queries", "parts.weight", "layers.0.out.bias"):
        save_file({other: tensor for other, tensor in whole.items() if other != name}, tmp_path / FILE)
        with pytest.raises(ConfigError, match=name):
            SpriteTextEncoder.load(tmp_path)
    save_file({**whole, "words.weight": torch.zeros(50, 64, 3)}, tmp_path / FILE)
    with pytest.raises(ConfigError, match="heads of 24 channels"):
        SpriteTextEncoder.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"not tensors")
    with pytest.raises(ConfigError, match="cannot be read"):
        SpriteTextEncoder.load(tmp_path)


def test_a_short_training_lowers_the_loss_and_goes_on_where_it_stopped(tmp_path):
    drawn = [part(batch) for batch in islice(batches(3), 16)]
    training = TextTraining(3, 16, *SMALL)
    losses = []
    for number, batch in enumerate(drawn):
        losses.append(training.learn(batch))
        if number == 13:
            training.save(tmp_path)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    resumed = TextTraining(3, 16, *SMALL)
    resumed.resume(tmp_path / STATE)
    assert [resumed.learn(batch) for batch in drawn[14:]] == losses[14:]
    assert load_file(tmp_path / FILE)["bias"].dtype == torch.float16
    assert SpriteTextEncoder.load(tmp_path).encode("a red ball").shape == (4, 64)
    with pytest.raises(ConfigError, match="another run"):
        TextTraining(4, 16, *SMALL).resume(tmp_path / STATE)


def test_batches_go_on_from_any_place():
    straight = list(islice(batches(1), 10))
    later = next(batches(1, 9))
    assert torch.equal(later.words, straight[9].words)
    assert torch.equal(later.right, straight[9].right)


def test_the_command_trains_and_prints_its_table(tmp_path, capsys):
    command = ["--to", str(tmp_path), "--steps", "1", "--prompts", "64"]
    assert text_encoder.main(command) == 0
    table = capsys.readouterr().out
    assert table.count("whole prompt") == 4
    assert "unseen combinations" in table
    assert text_encoder.main([*command, "--seed", "1"]) == 2
    assert "another run" in capsys.readouterr().err


def part(batch):
    """Few enough prompts for a quick test."""
    return type(batch)(batch.words[:12], batch.right[:12])


@shipped
@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        ("a red ball moving right", Thing("ball", "red", Motion.RIGHT)),
        ("a blue square bouncing on a white background", Thing("square", "blue", Motion.BOUNCE)),
        ("一个绿色的球向左移动", Thing("ball", "green", Motion.LEFT)),
    ],
)
def test_the_promised_prompts_are_understood(prompt, thing):
    said = SpriteTextEncoder.load(WEIGHTS).encode(prompt)
    torch.testing.assert_close(said, torch.from_numpy(meaning(Wish(Scene((thing,))))), atol=0.02, rtol=0)


@shipped
@pytest.mark.parametrize("language", Language)
def test_dialogue_of_a_request_is_understood(language):
    from engine.embedded.world.phrases import PHRASES

    encoder = SpriteTextEncoder.load(WEIGHTS)
    for number, phrase in enumerate(PHRASES[language]):
        said = encoder.encode(model_prompt("a talking pink face", language, phrase.text))
        wanted = meaning(Wish(Scene(face=Face("pink", language, number))))
        torch.testing.assert_close(said, torch.from_numpy(wanted), atol=0.2, rtol=0)
