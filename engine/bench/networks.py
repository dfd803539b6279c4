"""The networks that are measured: random weights of the true shapes and dtypes, made on the device itself."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.local_component import library
from engine.codecs.oobleck import OobleckAudioCodec
from engine.codecs.turbo import TurboConfig, TurboDecoder, TurboVideoCodec
from engine.embedded import WEIGHTS
from engine.embedded.release_codecs import load_sprite_codec
from engine.model.dit import AudioVideoTransformer, RotaryBands
from engine.weights import compute_dtype
from hhray.memory_plan import is_small
from hhray.model_size import EMBEDDED, ModelSize

SEED = 20260521
NORM_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Decoder:
    """`decode` takes float32 latents on `device`: video [48, T, h, w] or sound [64, A]; `weight_bytes` lie there."""

    name: str
    decode: Callable[[Tensor], Tensor]
    device: torch.device
    weight_bytes: int


def random_transformer(
    size: ModelSize, device: torch.device, dtype: torch.dtype | None = None
) -> AudioVideoTransformer:
    """The network in `dtype` (None: its own), frozen; the same weights on every rank of a kind of device.

    Unlike engine.weights.build_model it draws on the device, so that 15 billion weights take seconds.
    """
    with torch.device("meta"):
        model = AudioVideoTransformer(size, dtype or compute_dtype(size)).eval().requires_grad_(False)
    model = model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(SEED)
    with torch.no_grad():
        for weight in model.parameters():
            spread = 1 / math.sqrt(weight.shape[1]) if weight.dim() == 2 else NORM_SPREAD
            weight.normal_(0, spread, generator=generator)
        model.adapter.rope.bands.copy_(RotaryBands(size.head_dim).bands)
    return model


def video_decoder(size: ModelSize, device: torch.device) -> Decoder:
    """What decodes this network's video: Turbo with random weights, or the codec that comes with a small preset."""
    if is_small(size):
        cpu = torch.device("cpu")
        if size.name == EMBEDDED:
            codec = load_sprite_codec("video", WEIGHTS, size.text_channels)
            return Decoder("the embedded codec", codec.decode, cpu, 0)
        return Decoder("averaging stand-in", AveragingVideoCodec().decode, cpu, 0)
    decoder = random_turbo(device, compute_dtype(size) if device.type == "cuda" else torch.float32)
    codec = TurboVideoCodec(decoder, AveragingVideoCodec())  # whose encoder nobody asks
    return Decoder("Turbo", codec.decode, device, num_bytes(decoder))


def audio_decoder(size: ModelSize, device: torch.device) -> Decoder:
    """What decodes this network's sound: Oobleck with random weights, or the codec that comes with a small preset.

    Raises:
        ConfigError: the library diffusers is not installed.
    """
    if is_small(size):
        codec = load_sprite_codec("sound", WEIGHTS, size.text_channels) if size.name == EMBEDDED else None
        name = "the embedded codec" if codec else "additive stand-in"
        return Decoder(name, (codec or AdditiveAudioCodec()).decode, torch.device("cpu"), 0)
    dtype = compute_dtype(size) if device.type == "cuda" else torch.float32
    vae = _random_oobleck()
    nn.Module.to(vae, device, dtype)  # the library's own `to` warns of what does not concern this codec
    return Decoder("Oobleck", OobleckAudioCodec(vae).decode, device, num_bytes(vae))


def random_turbo(device: torch.device, dtype: torch.dtype) -> TurboDecoder:
    """The released configuration of the Turbo decoder with torch's own initial weights, frozen."""
    with torch.device(device):
        return TurboDecoder(TurboConfig()).to(dtype).eval().requires_grad_(False)


def num_bytes(module: nn.Module) -> int:
    """Bytes of a network's weights."""
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def _random_oobleck() -> Any:  # noqa: ANN401 - diffusers.AutoencoderOobleck, which has no types
    with warnings.catch_warnings():
        # the published classes of diffusers use torch's older weight_norm
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        vae = library("diffusers").AutoencoderOobleck()
    for part in vae.modules():
        if hasattr(part, "weight_g"):  # as OobleckAudioCodec.load does
            remove_weight_norm(part)
    return vae.eval().requires_grad_(False)
