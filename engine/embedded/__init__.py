"""The embedded checkpoint: a small network trained on a made world of sprites, its codecs, and what it is scored by."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"  # a release like those `hhray fetch-weights` makes; comes with the package
