"""The text encoder: the encoder half of T5Gemma of the transformers library (model specification 4.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from engine.codecs.base import MAX_TEXT_TOKENS
from engine.codecs.local_component import check_folder, library, load_component
from engine.eight_bit import quantise_module
from hhray.errors import ConfigError
from hhray.memory_size import Format

WHAT = "the text encoder (google/t5gemma-9b-9b-ul2)"


class T5GemmaTextEncoder:
    """Satisfies TextEncoder; computes on the device and in the dtype of its weights."""

    def __init__(self, model: Any, tokenizer: Any) -> None:  # noqa: ANN401 - transformers' classes
        self._model, self._tokenizer = model, tokenizer

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        eight_bit: Format | None = None,
    ) -> Self:
        """From a local folder with the model and its tokenizer; the decoder's weights, if they are there, are left.

        `eight_bit`: what linears and embeddings are kept in, on the device; they compute in `dtype`.

        Raises:
            ConfigError: files are absent or damaged.
        """
        transformers = library("transformers")
        check_folder(folder, WHAT, ("tokenizer.json", "tokenizer_config.json"))
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the library raises errors of a dozen kinds on damaged files
            raise ConfigError(f"{WHAT}: the tokenizer in {folder} cannot be loaded: {error}") from error
        model = load_component(
            _encoder_class(transformers),
            folder,
            WHAT,
            is_encoder_decoder=False,  # the class refuses the files' own value
            dtype=dtype,
            attn_implementation="eager",  # scores are soft-capped, which torch's fused attention cannot do
        )
        if eight_bit:
            quantise_module(model, eight_bit)
        return cls(model.to(device), tokenizer)

    @property
    def module(self) -> nn.Module:
        """The network, for whoever places its weights. Token ids go to where its embedding lies."""
        network: nn.Module = self._model
        return network

    @property
    def layers(self) -> list[nn.Module]:
        """Its layers in the order they compute; what follows them is `head`."""
        return list(self._model.encoder.layers)

    @property
    def head(self) -> nn.Module:
        """The norm after the last layer."""
        norm: nn.Module = self._model.encoder.norm
        return norm

    @property
    def channels(self) -> int:
        """Text channels: the width of its features."""
        return int(self._model.config.encoder.hidden_size)

    @torch.inference_mode()
    def encode(self, prompt: str) -> Tensor:
        """Features of a prompt with the tokenizer's own special tokens: float32 [X, channels] on its device, X <= 640.

        The whole prompt is encoded and then cut. Values pass through float16, as in the published pipeline.
        """
        tokens = self._tokenizer(prompt, return_tensors="pt").to(self._model.device)
        features: Tensor = self._model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        return features[0].to(torch.float16).float()[:MAX_TEXT_TOKENS]


def _encoder_class(transformers: Any) -> Any:  # noqa: ANN401 - a module without types
    """The library's encoder class, told that a decoder in the same files is no fault."""

    class EncoderHalf(transformers.T5GemmaEncoderModel):  # type: ignore[misc]
        _keys_to_ignore_on_load_unexpected = (r"^(model\.)?decoder\.", r"^lm_head\.")

    return EncoderHalf
