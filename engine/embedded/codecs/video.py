"""The small video codec; satisfies VideoCodec and SourceVideoEncoder of engine.codecs.base.

It was trained on the made world and knows nothing else: of other pictures it reads what looks most like a thing, and
about the colours behind. What its latents mean is fixed (engine.embedded.codecs.fields); how they look as pixels, and
how pixels are read, is learned.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.embedded.codecs.backdrop import match_textures
from engine.embedded.codecs.closer import Looker, look_closer
from engine.embedded.codecs.drawing import Drawer
from engine.embedded.codecs.fields import NUM_USED, sub_frames
from engine.embedded.codecs.frames import draw
from engine.embedded.codecs.reading import CHANNELS, Reader
from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

WEIGHTS = "video.safetensors"
LATENTS_AT_ONCE = 16
REMEDY = "train it anew with `python -m engine.embedded.training.video_codec`, or take it from the package again"


class Networks(nn.Module):
    """What is trained, under one set of names."""

    def __init__(self) -> None:
        super().__init__()
        self.drawer = Drawer()
        self.reader = Reader()
        self.looker = Looker()


class SpriteVideoCodec:
    """See the module's docstring. Runs on the CPU, whatever device its inputs are on."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks.float().eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path) -> SpriteVideoCodec:
        """The codec of a checkpoint's folder.

        Raises:
            ConfigError: `video.safetensors` is absent or damaged, or a tensor is missing or of another shape.
        """
        networks = Networks()
        networks.load_state_dict(_checked(folder / WEIGHTS, networks.state_dict()))
        return cls(networks)

    def encode(self, picture: Tensor) -> Tensor:
        """float32 [3, H, W] in [-1, 1] -> float32 [48, 1, H / 16, W / 16], on the picture's device."""
        return self.encode_video(picture[:, None])

    def encode_video(self, video: Tensor) -> Tensor:
        """float32 [3, F, H, W] in [-1, 1], F = 4 (T - 1) + 1 -> float32 [48, T, H / 16, W / 16].

        Raises:
            ValueError: the sizes are others.
        """
        _, num_frames, height, width = video.shape
        if num_frames % TEMPORAL_STRIDE != 1 or height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
            raise ValueError(
                f"{num_frames} frames of {width}x{height} pixels cannot be encoded: frames must be 1 more than a "
                f"multiple of {TEMPORAL_STRIDE}, and both sides multiples of {SPATIAL_STRIDE}"
            )
        num_latents = num_frames // TEMPORAL_STRIDE + 1
        order = torch.from_numpy(sub_frames(num_latents))
        latent = torch.zeros(VIDEO_CHANNELS, num_latents, height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
        pixels = video.float().cpu()
        with torch.inference_mode():
            for first in range(0, num_latents, LATENTS_AT_ONCE):
                part = slice(first, first + LATENTS_AT_ONCE)
                stacks = pixels[:, order[part]].permute(1, 2, 0, 3, 4).reshape(-1, CHANNELS, height, width)
                latent[:NUM_USED, part] = self._networks.reader(stacks).transpose(0, 1)
            match_textures(latent, pixels[:, ::TEMPORAL_STRIDE].transpose(0, 1), self._networks.drawer.texture)
            look_closer(self._networks.looker, latent, pixels)
        return latent.to(video.device)

    def decode(self, latent: Tensor) -> Tensor:
        """float32 [48, T, h, w] -> uint8 RGB frames [4 (T - 1) + 1, 16 h, 16 w, 3] on the CPU."""
        with torch.inference_mode():
            return draw(self._networks.drawer, latent.float().cpu())


def _checked(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"no weights of the video codec at {path}: {REMEDY}")
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"the weights of the video codec {path} cannot be read; {REMEDY}: {error}") from error
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [
        f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    wrong += [f"{name} is not known" for name in found if name not in wanted]
    if wrong:
        raise ConfigError(f"the weights of the video codec {path} do not fit: {'; '.join(wrong[:4])}; {REMEDY}")
    return found
