"""Pictures are compared by what they show: the intake keeps upright pixels, and nothing else of a file."""

from __future__ import annotations

import io

from PIL import Image


def same_pixels(stored: bytes, given: bytes) -> bool:
    """Whether what is stored is a PNG of exactly the pixels that were given."""
    kept, meant = Image.open(io.BytesIO(stored)), Image.open(io.BytesIO(given)).convert("RGB")
    return (kept.format, kept.mode, kept.size, kept.tobytes()) == ("PNG", "RGB", meant.size, meant.tobytes())
