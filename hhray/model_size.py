"""Sizes of the transformer as plain numbers, so that cost, memory and shapes derive from one place (model spec 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hhray.errors import ConfigError

VIDEO_CHANNELS = 48
PATCH_CHANNELS = VIDEO_CHANNELS * 4
AUDIO_CHANNELS = 64
NUM_MODALITIES = 3
# The trained network that comes with the package, and the share of the 256P size it draws at: 16:9 is 160 pixels wide.
EMBEDDED = "embedded"
EMBEDDED_SHARE = Fraction(5, 14)


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A single-stream DiT: `num_edge` modality-expert layers at each end, a shared trunk between them.

    `edge_layers` and `gelu_layers`, where given, name the modality-expert layers and those with the plain gelu7 MLP one
    by one; `num_edge` then does not count.
    """

    name: str
    num_layers: int
    num_edge: int
    hidden: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    text_channels: int
    edge_layers: frozenset[int] | None = None
    gelu_layers: frozenset[int] | None = None

    @property
    def qkv_rows(self) -> int:
        """Rows of one expert's linear_qkv: q, k, v and one gate scalar per query head."""
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_dim + self.num_heads

    @property
    def attention_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def gelu_width(self) -> int:
        """MLP width of the first edge layers (not gated)."""
        return 4 * self.hidden

    @property
    def swiglu_width(self) -> int:
        """MLP width of all other layers (gated): floor(8/3 hidden) rounded down to a multiple of 4."""
        return self.hidden * 8 // 3 // 4 * 4

    def is_edge(self, layer: int) -> bool:
        """Whether `layer` holds one expert per modality."""
        if self.edge_layers is not None:
            return layer in self.edge_layers
        return layer < self.num_edge or layer >= self.num_layers - self.num_edge

    def uses_gelu(self, layer: int) -> bool:
        """Whether `layer` has the plain gelu7 MLP (the first edge) instead of the gated swiglu7."""
        if self.gelu_layers is not None:
            return layer in self.gelu_layers
        return layer < self.num_edge

    def weights_per_token(self) -> int:
        """Block weights one token is multiplied with: one expert of each linear of every layer."""
        attention = self.hidden * self.qkv_rows + self.attention_width * self.hidden
        gelu, swiglu = 2 * self.hidden * self.gelu_width, 3 * self.hidden * self.swiglu_width
        return sum(attention + (gelu if self.uses_gelu(i) else swiglu) for i in range(self.num_layers))


PRESETS: dict[str, ModelSize] = {
    size.name: size
    for size in (
        # Query heads of 16 rather than 8: half the softmax work for the same width on a CPU (measured).
        ModelSize("tiny", 40, 4, 128, 8, 8, 16, 64),
        # For tests: every kind of layer, and a clip in a few seconds.
        ModelSize("pico", 5, 1, 128, 8, 8, 16, 32),
        ModelSize("15b", 40, 4, 5120, 40, 8, 128, 3584),
        # Fewer trunk layers than 32: what two CPU cores can train in hours, and what a package can hold.
        ModelSize(EMBEDDED, 10, 4, 176, 8, 8, 24, 64),
    )
}


def preset(name: str) -> ModelSize:
    """The preset of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"no model preset {name!r}; there are: {', '.join(PRESETS)}") from None
