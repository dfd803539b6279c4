"""What the engine asks of codecs; stand-ins and real components satisfy the same protocols.

Strides: video 4 x 16 x 16 with 48 channels, audio 25 latents a second with 64 channels, 2048 samples a latent.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Generator, Tensor

from engine.codecs.window import Window

SOUND_RATE = 51_200
SAMPLES_PER_LATENT = 2048
MAX_TEXT_TOKENS = 640


class VideoCodec(Protocol):
    """Pictures to latents and latents to frames."""

    def encode(self, picture: Tensor) -> Tensor:
        """float32 [3, H, W] in [-1, 1] -> float32 [48, 1, H / 16, W / 16] of about unit variance; H, W divide by 16."""

    def decode(self, latent: Tensor) -> Tensor:
        """float32 [48, T, h, w] -> uint8 RGB frames [4 (T - 1) + 1, 16 h, 16 w, 3] on the CPU."""


@runtime_checkable
class WindowedDecoder(Protocol):
    """A video codec whose clips fall into windows that may be decoded in any order, each by any rank."""

    def windows(self, num_latents: int) -> tuple[Window, ...]:
        """Those of a clip of that many latent frames, in order."""

    def decode_window(self, latent: Tensor, window: Window) -> Tensor:
        """float32 [48, T, h, w], the whole clip -> the window's frames as VideoCodec.decode gives them, uint8 RGB
        [window.num_frames, 16 h, 16 w, 3], but on the device the codec computes on."""


class VideoEncoder(Protocol):
    """The encoding half of VideoCodec: a decoder without an encoder of its own borrows one."""

    def encode(self, picture: Tensor) -> Tensor:
        """As VideoCodec.encode."""


class SourceVideoEncoder(VideoEncoder, Protocol):
    """An encoder that takes moving pictures too."""

    def encode_video(self, video: Tensor) -> Tensor:
        """float32 [3, F, H, W] in [-1, 1], F = 4 (T - 1) + 1 -> float32 [48, T, H / 16, W / 16]."""


class SoundEncoder(Protocol):
    """Sound to latents."""

    def encode(self, sound: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """float32 [C, N] in [-1, 1] at `sample_rate` Hz -> float32 [64, A], 25 a second; `generator` samples."""


class AudioCodec(Protocol):
    """Latents to sound."""

    def decode(self, latent: Tensor) -> Tensor:
        """float32 [64, A] -> float32 stereo [2, 2048 A] in [-1, 1] at 51,200 Hz on the CPU."""


class TextEncoder(Protocol):
    """Prompts to features."""

    def encode(self, prompt: str) -> Tensor:
        """float32 [X, text channels], 1 <= X <= 640; the same prompt always gives the same features."""
