"""The Turbo decoder's configuration, as its JSON file gives it (model specification 4.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from hhray.errors import ConfigError
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

Flags = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class TurboConfig:
    """Widths and windows of the decoder; lists are in the file's order, which is the encoder's: outermost first.

    The defaults are the released configuration "TurboV3-Wan22-TinyShallow_7_7". Lists of 4 describe up-blocks 3 .. 0,
    lists of 5 describe up-blocks 3 .. 0 and then the middle block.

    Raises:
        ConfigError: lists of wrong lengths, or strides other than 4 x 16 x 16.
    """

    latent_channels: int = VIDEO_CHANNELS
    decoder_block_out_channels: tuple[int, ...] = (64, 128, 256, 512)
    decoder_layers_per_block: tuple[int, ...] = (2, 2, 2, 3, 3)
    decoder_spatio_temporal_scaling: Flags = (False, True, True, True)
    decoder_spatio_only: Flags = (False, True, False, False)
    decoder_is_dw_conv: Flags = (False, False, False, False, False)
    decoder_dw_kernel_size: int = 3
    patch_size: int = 2
    use_unpatchify: bool = True
    first_chunk_size: int = 7
    step_size: int = 7

    def __post_init__(self) -> None:
        blocks = len(self.decoder_block_out_channels)
        lists = (self.decoder_spatio_temporal_scaling, self.decoder_spatio_only)
        deep_lists = (self.decoder_layers_per_block, self.decoder_is_dw_conv)
        if any(len(values) != blocks for values in lists) or any(len(values) != blocks + 1 for values in deep_lists):
            raise ConfigError(
                f"a Turbo configuration of {blocks} decoder blocks needs {blocks} flags of spatio_temporal_scaling and "
                f"of spatio_only, and {blocks + 1} values of layers_per_block and of is_dw_conv"
            )
        if self.latent_channels != VIDEO_CHANNELS or min(self.first_chunk_size, self.step_size) < 1:
            raise ConfigError(
                f"a Turbo configuration needs latent_channels {VIDEO_CHANNELS} and first_chunk_size and step_size of 1 "
                f"or more, not {self.latent_channels}, {self.first_chunk_size} and {self.step_size}"
            )
        upsamplers = list(zip(*lists, strict=True))
        time = 2 ** sum(scaled and not only_space for scaled, only_space in upsamplers)
        space = self.patch_size * 2 ** sum(scaled for scaled, _ in upsamplers)
        if (time, space, self.patch_size) != (TEMPORAL_STRIDE, SPATIAL_STRIDE, 2):
            raise ConfigError(
                f"a Turbo configuration must enlarge {TEMPORAL_STRIDE} times in time and {SPATIAL_STRIDE} times in "
                f"space with patch_size 2; this one enlarges {time} and {space} times with {self.patch_size}"
            )

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """Read a configuration file. Keys that do not describe the decoder (the file has the encoder's too) are left.

        Raises:
            ConfigError: no such file, no JSON object, a required key is absent, or as the class says.
        """
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Turbo configuration (JSON) can be read at {path}: {error}") from error
        required = ("decoder_block_out_channels", "decoder_layers_per_block", "decoder_spatio_temporal_scaling")
        missing = [key for key in required if not isinstance(content, dict) or key not in content]
        if missing:
            raise ConfigError(f"{path} is no Turbo decoder configuration: it lacks {', '.join(missing)}")
        known = {field.name for field in fields(cls)} & set(content)
        values: dict[str, Any] = {
            key: tuple(content[key]) if isinstance(content[key], list) else content[key] for key in known
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(
                f"{path} is no Turbo decoder configuration: a value has the wrong type: {error}"
            ) from error
