"""T5Gemma: a tiny random model of the real class with a tokenizer built here, saved and loaded through our encoder."""

from __future__ import annotations

import json
import socket
import sys

import pytest
import torch

from engine.codecs.base import MAX_TEXT_TOKENS
from engine.codecs.t5gemma import T5GemmaTextEncoder
from hhray.errors import ConfigError

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'hhray[codecs]'")

WORDS = ("<pad>", "<eos>", "<bos>", "<unk>", "a", "fox", "runs")
BOS = 2
MODULE = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "sliding_window": 16,
}


def full_model():
    """Encoder and decoder, as the published files hold them."""
    torch.manual_seed(0)
    module = transformers.T5GemmaModuleConfig(**MODULE)
    config = transformers.T5GemmaConfig(encoder=module, decoder=module, vocab_size=len(WORDS))
    return transformers.T5GemmaForConditionalGeneration(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    path = tmp_path_factory.mktemp("t5gemma")
    full_model().save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return T5GemmaTextEncoder.load(folder, dtype=torch.float32)


def test_the_library_builds_the_published_encoder():
    sizes = {"hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42, "head_dim": 256}
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8}
    module = transformers.T5GemmaModuleConfig(**sizes, **heads)
    config = transformers.T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
    with torch.device("meta"):
        model = transformers.T5GemmaEncoderModel(config)
    assert sum(weight.numel() for weight in model.parameters()) == 9_241_705_984


def test_features_are_the_normed_last_hidden_state_through_float16(encoder):
    features = encoder.encode("a fox runs")
    assert features.shape == (4, 32)
    assert features.dtype is torch.float32
    assert encoder.channels == 32
    expected = full_model().model.encoder(torch.tensor([[BOS, 4, 5, 6]])).last_hidden_state[0]
    torch.testing.assert_close(features, expected.half().float(), atol=2e-3, rtol=2e-3)
    assert torch.equal(features, features.half().float())
    assert torch.equal(features, encoder.encode("a fox runs"))


def test_long_prompts_are_encoded_whole_and_cut_to_640(encoder):
    short, long = " ".join(["fox"] * 639), " ".join(["fox"] * 639 + ["runs"] * 12)
    assert encoder.encode(short).shape == (640, 32)
    features = encoder.encode(long)
    assert features.shape == (MAX_TEXT_TOKENS, 32)
    assert not torch.equal(features, encoder.encode(short)), "words beyond the cut are heard by those before it"
    assert encoder.encode("").shape == (1, 32)


def test_a_padding_word_in_a_prompt_is_a_token_like_any_other(encoder):
    masked = torch.tensor([[1, 1, 0, 1]])
    tokens = torch.tensor([[BOS, 4, 0, 6]])
    expected = full_model().model.encoder(tokens, attention_mask=torch.ones(1, 4)).last_hidden_state[0]
    hidden = full_model().model.encoder(tokens, attention_mask=masked).last_hidden_state[0]
    features = encoder.encode("a <pad> runs")
    torch.testing.assert_close(features, expected.half().float(), atol=2e-3, rtol=2e-3)
    assert (features - hidden).abs().max() > 1e-2


def test_weights_take_the_dtype_that_is_asked_for_and_need_no_network(folder, encoder, monkeypatch):
    def refuse(*_):
        raise AssertionError("the text encoder asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    rough = T5GemmaTextEncoder.load(folder).encode("a fox runs")
    exact = encoder.encode("a fox runs")
    assert rough.dtype is torch.float32
    assert 0 < (rough - exact).norm() / exact.norm() < 0.05


def test_the_decoder_in_the_files_is_no_fault_but_a_missing_encoder_weight_is(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    assert any("decoder." in name for name in state)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    del state["model.encoder.norm.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"missing encoder\.norm\.weight$"):
        T5GemmaTextEncoder.load(tmp_path)


def test_absent_or_damaged_files_are_refused_in_a_sentence(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"must be a local folder with tokenizer\.json, tokenizer_config\.json"):
        T5GemmaTextEncoder.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer in .* cannot be loaded"):
        T5GemmaTextEncoder.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    with pytest.raises(ConfigError, match=r"config\.json, \*\.safetensors"):
        T5GemmaTextEncoder.load(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["hidden_size"] = 16
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError):
        T5GemmaTextEncoder.load(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'hhray\[codecs\]'"):
        T5GemmaTextEncoder.load(folder)
