"""What a clip is conditioned on beyond its text, first frame and sound: clean segments in its own stream.

Positions follow the model family's habit (model specification 7.1): reference picture k = 0, 1, .. stands two latent
frames behind the clip and k further, centred in its own grid, behind a text token that names it; a source video stands
far behind all pictures. A checkpoint must have been trained to read them (hhray.capabilities).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.codecs.base import TextEncoder
from engine.model.patch import patchify
from engine.model.stream import Modality, SegmentShape, Triple
from hhray.geometry import PATCH

REFERENCE_GAP = 2  # latent frames between the clip's end and its first reference
SOURCE_OFFSET = 200  # latent frames from the clip's first: behind a clip of 15 s and nine references


@dataclass(frozen=True, slots=True)
class Segment:
    """A clean segment. `payload` has one row a token, float32: video [n, 192], audio [n, 64], text [n, channels]."""

    shape: SegmentShape
    payload: Tensor


def reference_segments(picture: Tensor, index: int, clip_frames: int, encoder: TextEncoder) -> tuple[Segment, Segment]:
    """The marker token and the tokens of a reference picture.

    Args:
        picture: its latent, float32 [48, 1, h, w].
        index: 0 for the first reference.
        clip_frames: latent frames of the clip.
        encoder: of the prompt; the marker is the mean of the features of the words that name the picture.
    """
    grid = _token_grid(picture)
    time = clip_frames + REFERENCE_GAP + index
    words = encoder.encode(f"<Figure {index + 1}>").to(picture.device)
    marker = SegmentShape(Modality.TEXT, (1, 1, 1), (time, -1, -1), extent=grid)
    tokens = SegmentShape(Modality.VIDEO, grid, (time, 0, 0))
    return Segment(marker, words.mean(0, keepdim=True)), Segment(tokens, patchify(picture))


def source_segment(video: Tensor) -> Segment:
    """The tokens of the video that is to be edited; `video` is its latent, float32 [48, T, h, w]."""
    return Segment(SegmentShape(Modality.VIDEO, _token_grid(video), (SOURCE_OFFSET, 0, 0)), patchify(video))


def _token_grid(latent: Tensor) -> Triple:
    _, frames, height, width = latent.shape
    return frames, height // PATCH, width // PATCH
