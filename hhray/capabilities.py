"""What a checkpoint was trained for, and what is done with a request it was not trained for (model specification 7.1).

The open weights make clips from text, from a first frame and to given sound. References and edits were not trained:
there the first reference becomes the first frame, and a video is edited by noising it part of the way and denoising it
again under the new prompt. Whoever would rather be refused says so with `strict_capabilities`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hhray.request import Mode


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Modes a checkpoint was trained for: from text, first frame, audio, reference images, and editing a video."""

    t2v: bool = True
    i2v: bool = True
    a2v: bool = True
    r2v: bool = False
    edit: bool = False

    def names(self) -> tuple[str, ...]:
        """The modes it was trained for."""
        return tuple(name for name, able in asdict(self).items() if able)

    def trained_for(self, mode: Mode) -> bool:
        """Whether requests of this mode run as they were trained."""
        return bool(getattr(self, "edit" if mode is Mode.VIDEO_EDIT else mode.value))

    def notice(self, mode: Mode) -> str:
        """What a client should know about the fallback for this mode; empty where the mode was trained."""
        return "" if self.trained_for(mode) else FALLBACKS[mode]


FALLBACKS = {
    Mode.T2V: "This checkpoint was not trained to make clips from text; what it makes may not follow the prompt.",
    Mode.I2V: "This checkpoint was not trained on first frames; the picture is held as the first frame all the same.",
    Mode.R2V: "This checkpoint was not trained on reference images: the first one is the clip's first frame, "
    "any others are not used.",
    Mode.VIDEO_EDIT: "This checkpoint was not trained to edit: the video was noised part of the way and denoised again "
    "under the prompt; reference images are not used.",
}
