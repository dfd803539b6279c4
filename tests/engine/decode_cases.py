"""Clips that ranks decode together in tests, and decoders that note what they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.turbo import TurboConfig, TurboDecoder, TurboVideoCodec
from engine.codecs.window import Window
from engine.decoding import ClipDecoding
from engine.delivery import Delivery
from engine.exchange import Link
from hhray.geometry import Size

TINY = TurboConfig(
    decoder_block_out_channels=(4, 4, 6, 8),
    decoder_layers_per_block=(1, 1, 1, 1, 1),
    first_chunk_size=3,
    step_size=2,
)


def turbo(dtype: torch.dtype) -> TurboVideoCodec:
    """A small decoder with random weights, the same every time."""
    torch.manual_seed(0)
    return TurboVideoCodec(TurboDecoder(TINY).to(dtype).requires_grad_(False), AveragingVideoCodec())


DECODED = Size(64, 32)


class Whole:
    """A codec without windows."""

    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        return AveragingVideoCodec().encode(picture)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return AveragingVideoCodec().decode(latent)


@dataclass(frozen=True)
class Case:
    """A clip of `num_latents` x 2 x 4 latents, decoded at 64 x 32 and delivered at `size`."""

    codec: Callable[[], Any]
    num_latents: int
    size: Size = DECODED
    keeps_sound: bool = False


CASES = {
    "turbo": Case(lambda: turbo(torch.float32), 10),  # five windows: three ranks have two turns, the last too short
    "turbo in bfloat16": Case(lambda: turbo(torch.bfloat16), 9),  # four windows
    "enlarged": Case(AveragingVideoCodec, 11, Size(128, 64)),  # three windows, RGB
    "one window": Case(AveragingVideoCodec, 2, keeps_sound=True),
    "no windows": Case(Whole, 4),
}


class Decoders:
    """A codec of the case and the stand-in for sound, and what they did."""

    device = torch.device("cpu")

    def __init__(self, codec: Any) -> None:
        self.video_decoder, self.sound = codec, AdditiveAudioCodec()
        self.windows: list[int] = []
        self.sounds = 0
        made_window, made_sound = getattr(codec, "decode_window", None), self.sound.decode

        def window(latent: torch.Tensor, one: Window) -> torch.Tensor:
            self.windows.append(one.first_frame)
            return made_window(latent, one)

        def sound(latent: torch.Tensor) -> torch.Tensor:
            self.sounds += 1
            return made_sound(latent)

        if made_window is not None:
            codec.decode_window = window
        self.sound.decode = sound  # type: ignore[method-assign]


def decoding(case: Case, decoders: Decoders, link: Link) -> ClipDecoding:
    """The same clip on every rank."""
    generator = torch.Generator().manual_seed(3)
    video = torch.randn(48, case.num_latents, 2, 4, generator=generator)
    audio = torch.randn(7, 64, generator=generator)
    track = (torch.full((2, 100), 0.5), 48_000) if case.keeps_sound else None
    return ClipDecoding((video, audio), track, Delivery(case.size, 5), "", decoders, link)
