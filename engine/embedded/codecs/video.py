"""The small video codec; satisfies VideoCodec and SourceVideoEncoder of engine.codecs.base."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.embedded.codecs.blocks import Basis
from engine.embedded.codecs.refiner import TIME_REACH, Refiner, linear_frames
from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE

FILE = Path(__file__).parents[1] / "weights" / "video_codec.safetensors"
CHUNK = 12  # latent frames decoded at a time, to bound memory
BASIS = "basis."


class SpriteVideoCodec:
    """A linear encoder and a small decoder, both on the CPU in float32.

    Without `refiner` decoding is linear too.
    """

    def __init__(self, basis: Basis, refiner: Refiner | None) -> None:
        self.basis, self._refiner = basis, refiner

    @classmethod
    def load(cls, path: Path = FILE) -> SpriteVideoCodec:
        """The codec of a file; one without a refiner is linear.

        Raises:
            ConfigError: the file is absent or is none of ours.
        """
        try:
            tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
            basis = Basis(*(tensors.pop(BASIS + name) for name in ("mean", "directions", "scales")))
            refiner = Refiner() if tensors else None
            if refiner is not None:
                refiner.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise ConfigError(f"{path} holds no video codec of the embedded checkpoint: {error}") from error
        return cls(basis, refiner and refiner.eval().requires_grad_(False))

    def save(self, path: Path) -> None:
        """Write the codec in float16; its scales stay in float32."""
        tensors = self._refiner.state_dict() if self._refiner else {}
        tensors |= {BASIS + "mean": self.basis.mean, BASIS + "directions": self.basis.directions}
        halved = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
        save_file(halved | {BASIS + "scales": self.basis.scales}, path)

    def encode(self, picture: Tensor) -> Tensor:
        """float32 [3, H, W] in [-1, 1] -> float32 [48, 1, H / 16, W / 16]; H, W divide by 16."""
        return self.encode_video(picture[:, None])

    def encode_video(self, video: Tensor) -> Tensor:
        """float32 [3, F, H, W] in [-1, 1], F = 4 (T - 1) + 1 -> float32 [48, T, H / 16, W / 16]."""
        return self.basis.encode(video.float().cpu())

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """float32 [48, T, h, w] -> uint8 RGB frames [4 (T - 1) + 1, 16 h, 16 w, 3]; chunks overlap, so that their
        borders do not show."""
        latent = latent.float().cpu()
        _, num_latents, height, width = latent.shape
        shape = (TEMPORAL_STRIDE * num_latents, height * SPATIAL_STRIDE, width * SPATIAL_STRIDE, 3)
        frames = torch.empty(shape, dtype=torch.uint8)
        for start in range(0, num_latents, CHUNK):
            end, first = min(start + CHUNK, num_latents), max(start - TIME_REACH, 0)
            pixels = self._pixels(latent[:, first : end + TIME_REACH])
            kept = pixels[:, TEMPORAL_STRIDE * (start - first) :][:, : TEMPORAL_STRIDE * (end - start)]
            frames[TEMPORAL_STRIDE * start : TEMPORAL_STRIDE * end] = kept.permute(1, 2, 3, 0)
        return frames[TEMPORAL_STRIDE - 1 :]

    def _pixels(self, latent: Tensor) -> Tensor:
        """All frames of some latents: 0 to 255, [3, 4 T, H, W]."""
        pixels = linear_frames(self.basis.decode(latent)[None])
        if self._refiner is not None:
            pixels = pixels + self._refiner(latent[None])
        return pixels[0].add_(1).mul_(127.5).round_().clamp_(0, 255)
