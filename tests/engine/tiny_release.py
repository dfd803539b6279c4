"""Writes a whole small release: random transformers, and stand-ins or tiny random components of the real libraries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.checkpoint.names import FOLDERS, Layout, Part
from engine.codecs.turbo import TurboConfig, TurboDecoder
from engine.model.dit import AudioVideoTransformer
from engine.weights import fill_random
from hhray.model_size import ModelSize, preset

WORDS = ("<pad>", "<eos>", "<bos>", "<unk>", "a", "fox", "runs", "horse", "ball", "red", "video", "of", "the")
STAND_INS = {"text": "bytewise", "video": "averaging", "sound": "additive"}
WAN = {
    "base_dim": 4,
    "decoder_base_dim": 4,
    "z_dim": 48,
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
OOBLECK = {"encoder_hidden_size": 128, "channel_multiples": [1, 1, 1, 1, 1], "decoder_channels": 2}
TURBO = {
    "decoder_block_out_channels": [4, 4, 6, 8],
    "decoder_layers_per_block": [1, 1, 1, 1, 1],
    "decoder_spatio_temporal_scaling": [False, True, True, True],
    "decoder_spatio_only": [False, True, False, False],
}


def write_tiny_release(
    folder: Path,
    *,
    size: ModelSize | None = None,
    parts: Sequence[str] = ("distill", "540p_sr"),
    layout: str = "official",
    codecs: str = "stand-in",
    capabilities: Mapping[str, bool] | None = None,
    seed: int = 0,
) -> Path:
    """A release in the new folder `folder`, which is returned.

    `size` is pico by default; `layout` "official", "diffusers", "fp8" or "int8"; `codecs` "stand-in" or "library".
    """
    folder.mkdir(parents=True)
    said: dict[str, object] = {} if capabilities is None else {"capabilities": dict(capabilities)}
    size = size or preset("pico")
    for index, part in enumerate(parts):
        write_transformer(folder / part, size, seed + index)
        _lay_out(folder / part, Part(part), Layout(layout))
    if codecs == "library":
        write_library_codecs(folder, size.text_channels)
    else:
        said["codecs"] = STAND_INS
    if said:
        (folder / "hhray.json").write_text(json.dumps(said))
    return folder


def random_state(size: ModelSize, seed: int) -> dict[str, torch.Tensor]:
    """The float32 state of a network with random weights."""
    model = AudioVideoTransformer(size, torch.float32)
    fill_random(model, seed)
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def write_transformer(folder: Path, size: ModelSize, seed: int, shards: int = 2) -> None:
    """Sharded safetensors with an index, float32."""
    folder.mkdir(parents=True)
    state, placed = random_state(size, seed), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        names = sorted(state)[shard::shards]
        save_file({name: state[name] for name in names}, folder / file)
        placed |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def _lay_out(folder: Path, part: Part, layout: Layout) -> None:
    if layout in (Layout.FP8, Layout.INT8):
        from engine.checkpoint.quantise import Format, quantise

        quantise(folder, folder.with_name(FOLDERS[layout][part]), Format(layout.value))
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    elif layout is Layout.DIFFUSERS:
        outer = folder.with_name(FOLDERS[layout].get(part, part.value))
        inner = "sr_transformer" if part in FOLDERS[layout] else "transformer"
        kept = folder.rename(folder.with_name(".kept"))
        outer.mkdir()
        kept.rename(outer / inner)


def write_library_codecs(folder: Path, text_channels: int, seed: int = 0) -> None:
    """text/, video_vae/, turbo_vae/ and audio_vae/ with tiny random networks of the real classes."""
    import diffusers

    write_text_encoder(folder / "text", text_channels, seed)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        diffusers.AutoencoderKLWan(**WAN).save_pretrained(folder / "video_vae")
        diffusers.AutoencoderOobleck(**OOBLECK).save_pretrained(folder / "audio_vae")
    turbo = folder / "turbo_vae"
    turbo.mkdir()
    (turbo / "TurboV3-tiny.json").write_text(json.dumps(TURBO))
    decoder = TurboDecoder(TurboConfig.from_json(turbo / "TurboV3-tiny.json"))
    state = {f"module.{name}": tensor for name, tensor in decoder.state_dict().items()}
    torch.save({"ema_state_dict": state}, turbo / "checkpoint-1.ckpt")


def write_text_encoder(folder: Path, channels: int, seed: int = 0, layers: int = 3) -> None:
    """A T5Gemma of the real class with encoder and decoder, and a tokenizer of a dozen words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(seed)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8}
    module = transformers.T5GemmaModuleConfig(
        vocab_size=len(WORDS),
        hidden_size=channels,
        intermediate_size=2 * channels,
        num_hidden_layers=layers,
        sliding_window=16,
        **heads,
    )
    config = transformers.T5GemmaConfig(encoder=module, decoder=module, vocab_size=len(WORDS))
    transformers.T5GemmaForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bos, eos = (("<bos>", WORDS.index("<bos>")), ("<eos>", WORDS.index("<eos>")))
    # at least two tokens, also of an empty prompt: the network asks for that
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[bos, eos])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    ).save_pretrained(folder)
