"""A release with the small codecs: written, read, served at its own size, and refused where it is not whole."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.release
from engine.checkpoint.inspect import inspect_checkpoint
from engine.checkpoint.shapes import expected_tensors, size_from_shapes
from engine.codecs.averaging import AveragingVideoCodec
from engine.embedded import release_files
from engine.embedded.codecs.sound import SpriteSoundCodec
from engine.embedded.meaning import empty
from engine.embedded.release_codecs import load_sprite_codec
from engine.embedded.release_files import write_release
from engine.embedded.training.ship import card
from engine.pipeline import Pipeline
from engine.release import served_model, weights_folder
from hhray.capabilities import Capabilities
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, Ratio, Resolution
from hhray.model_size import EMBEDDED_SHARE, ModelSize, preset
from hhray.served_model import DEFAULT_LADDER
from tiny_release import random_state

SMALL = ModelSize("custom", 3, 1, 32, 2, 2, 16, 64)  # every kind of layer
ABLE = Capabilities(r2v=True, edit=True)


class TextDouble:
    """Reads its file and says nothing of a prompt, in the shape of the made world's features."""

    @classmethod
    def load(cls, folder):
        load_file(folder / "text.safetensors")
        return cls()

    def encode(self, prompt):
        return torch.from_numpy(empty())


class VideoDouble(AveragingVideoCodec):
    @classmethod
    def load(cls, folder):
        load_file(folder / "video.safetensors")
        return cls()


@pytest.fixture
def doubles(monkeypatch):
    """Simple codecs in the place of the trained ones: what is asked here is which files are read, and when."""
    text, video = SimpleNamespace(SpriteTextEncoder=TextDouble), SimpleNamespace(SpriteVideoCodec=VideoDouble)
    monkeypatch.setitem(sys.modules, "engine.embedded.codecs.text", text)
    monkeypatch.setitem(sys.modules, "engine.embedded.codecs.video", video)


@pytest.fixture
def codec_files(tmp_path):
    paths = tmp_path / "trained_text.safetensors", tmp_path / "trained_video.safetensors"
    for path in paths:
        save_file({"weight": torch.zeros(3)}, path)
    return paths


@pytest.fixture
def release(tmp_path, codec_files):
    return write_release(tmp_path / "weights", random_state(SMALL, 1), SMALL, *codec_files, ABLE, "# A card\n")


def test_the_sizes_of_the_embedded_network_are_recognised_in_its_files():
    size = preset("embedded")
    assert size_from_shapes(expected_tensors(size)) is size
    assert [index for index in range(10) if size.is_edge(index)] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert [index for index in range(10) if size.uses_gelu(index)] == [0, 1, 2, 3]


def test_a_written_release_says_what_it_is(release):
    served = served_model(release, "", DEFAULT_LADDER)
    assert (served.capabilities, served.native_share, served.ladder, served.guided) == (ABLE, EMBEDDED_SHARE, {}, False)
    assert served.predicts_clean
    assert expected_tensors(served.size) == expected_tensors(SMALL)
    stored = load_file(release / "distill" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert (release / "README.md").read_text() == "# A card\n"
    assert all(path.stat().st_mode & 0o044 for path in release.rglob("*.safetensors"))
    facts = inspect_checkpoint(release)
    assert (facts["servable"], facts["layout"]) == (True, "official")
    assert set(facts["components"].values()) == {"small codec"}


def test_it_runs_at_its_own_size_with_its_own_codecs(release, doubles):
    pipeline = Pipeline.from_pretrained(release, tiers=[Resolution.P256], max_seconds=3).to("cpu")
    clip = pipeline(prompt="a red ball", duration=3, seed=1)
    assert tuple(clip.decoded.shape) == (77, 96, 160, 3)
    assert tuple(clip.frames.shape) == (75, 256, 448, 3)
    assert tuple(clip.audio.shape) == (2, 144_000)
    assert clip.notice == (
        "Denoised at 160x96 and enlarged to 448x256 after decode: that is the size the custom model draws at."
    )
    assert isinstance(pipeline._loaded.sound, SpriteSoundCodec)


def test_the_notice_of_a_larger_tier_names_the_size_it_was_made_at(release):
    from engine.messages import ClipJob

    notice = Pipeline.from_pretrained(release).notice(ClipJob("t", "x", 1, "720P", "1:1", 3))
    assert notice.startswith("Denoised at 128x128 and enlarged to 960x960 after decode: the custom model has no super")


@pytest.mark.parametrize("kind", ["text", "video"])
def test_a_lost_or_damaged_codec_file_is_named(release, kind):
    pytest.importorskip(f"engine.embedded.codecs.{kind}", reason=f"the {kind} codec is not there yet")
    path = release / f"{kind}.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match=str(path)):
        load_sprite_codec(kind, release, 64)
    path.unlink()
    with pytest.raises(ConfigError, match=f"no file {path}"):
        Pipeline.from_pretrained(release)


@pytest.mark.parametrize("share", ["[0, 14]", "[15, 14]", "[5]", "0.36", '["5", 14]', "[true, 14]"])
def test_a_share_that_is_no_fraction_is_refused(release, share):
    (release / "hhray.json").write_text(f'{{"native_share": {share}}}')
    with pytest.raises(ConfigError, match=r"expected .*\"native_share\": \[5, 14\]"):
        served_model(release, "", {})


def test_without_a_share_the_base_runs_at_256p(release):
    said = json.loads((release / "hhray.json").read_text())
    del said["native_share"]
    (release / "hhray.json").write_text(json.dumps(said))
    served = served_model(release, "", {})
    assert served.native_share == Fraction(1)
    assert str(served.native(ClipGeometry(Resolution.P720, Ratio.R16_9, 3))) == "448x256"


def test_other_text_features_than_the_encoders_are_refused(tmp_path, codec_files):
    size = ModelSize("custom", 3, 1, 32, 2, 2, 16, 48)
    folder = write_release(tmp_path / "w", random_state(size, 1), size, *codec_files, ABLE, "")
    with pytest.raises(ConfigError, match="gives 64 channels, and the network takes 48"):
        Pipeline.from_pretrained(folder, max_seconds=3).to("cpu")


def test_what_is_no_such_network_or_too_large_is_not_written(tmp_path, codec_files, monkeypatch):
    state = random_state(SMALL, 1)
    lost = {name: tensor for name, tensor in state.items() if name != "final_norm_audio.weight"}
    with pytest.raises(ConfigError, match=r"1 tensors differ, the first is final_norm_audio\.weight: absent"):
        write_release(tmp_path / "w", lost, SMALL, *codec_files, ABLE, "")
    monkeypatch.setattr(release_files, "MAX_BYTES", 100_000)
    with pytest.raises(ConfigError, match="has room for 100,000; train a smaller network"):
        write_release(tmp_path / "w", state, SMALL, *codec_files, ABLE, "")
    assert not (tmp_path / "w").exists()


def test_the_packages_own_weights_are_found_by_name(release, tmp_path, monkeypatch):
    monkeypatch.setattr(engine.release, "WEIGHTS", release)
    monkeypatch.chdir(tmp_path)
    assert weights_folder("embedded", "") == weights_folder("", "embedded") == release
    assert weights_folder("", "tiny") is None
    assert weights_folder(tmp_path, "embedded") == tmp_path
    assert Pipeline.from_pretrained("embedded").folder == release
    (tmp_path / "embedded").mkdir()  # a folder of that name was meant
    assert str(weights_folder("embedded", "")) == "embedded"
    assert weights_folder("", "embedded") == release


def test_a_package_without_its_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.release, "WEIGHTS", tmp_path / "none")
    with pytest.raises(ConfigError, match=r"lacks the embedded weights in .*none; install hhray anew"):
        weights_folder("", "embedded")


def test_the_card_says_how_long_it_was_taught_and_distilled(tmp_path):
    (tmp_path / "progress.jsonl").write_text(3 * '{"step": 1, "clips": 10, "seconds": 1200.0}\n')
    (tmp_path / "distilled.jsonl").write_text(2 * '{"step": 1, "clips": 8, "seconds": 900.0}\n')
    able = Capabilities(i2v=True)
    said = card(tmp_path, able, None, "an abacus", teacher=False, remark="it was dropped once")
    assert "3 steps, 30 clips, 1.0 hours; then" in said
    assert "to eight steps: 2 steps, 16 clips, 0.5 hours" in said
    assert "an abacus" in said
    assert "it was dropped once" in said
    assert "i2v" in said
    assert "not distilled" in card(tmp_path, able, None, "an abacus", teacher=True)
