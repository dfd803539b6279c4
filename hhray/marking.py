"""What is put on a clip to say that a model made it: decided at create, carried by the request, checked in the file.

Sources: GB 45438-2025 (labelling of generated content, in force since 2025-09-01) for the opening label and the `AIGC`
field of a file's metadata, the hosted API for the visible watermark, C2PA 2.x for the signed manifest.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MAX_TEXT = 64  # characters of a watermark or a label
MIN_LABEL_SECONDS = 2.0  # GB 45438-2025: of a video, an opening label is shown at least so long


class Marking(BaseModel):
    """The marks of one clip; without arguments there are none.

    `watermark` is a text at the bottom right of every picture, `label` one at the top left of those of the first
    `label_seconds`. `producer` names who offers the service in the `AIGC` field of the file; empty: no such field.
    A `signed` file carries a C2PA manifest; `invisible` asks for the server's imperceptible watermark.
    """

    model_config = ConfigDict(frozen=True)

    watermark: str = Field(default="", max_length=MAX_TEXT)
    label: str = Field(default="", max_length=MAX_TEXT)
    label_seconds: float = Field(default=MIN_LABEL_SECONDS, ge=MIN_LABEL_SECONDS)
    producer: str = Field(default="", max_length=MAX_TEXT)
    signed: bool = False
    invisible: bool = False

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of the marks that change pictures, in the order they are put on."""
        marks = {"invisible": self.invisible, "watermark": bool(self.watermark), "label": bool(self.label)}
        return tuple(name for name, is_wanted in marks.items() if is_wanted)

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the marks that a rank leaves in the file it writes: those in the pictures and in the metadata."""
        return (*self.drawn, *(["aigc"] if self.producer else []))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all marks; the manifest comes last because it signs the others."""
        return (*self.written, *(["c2pa"] if self.signed else []))


UNMARKED = Marking()
