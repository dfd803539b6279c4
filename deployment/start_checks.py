"""What settings name is tried before anything starts: fonts, keys to sign with, classes of the operator's."""

from __future__ import annotations

from deployment.content_credentials import open_signer
from deployment.moderation import open_moderation
from engine.marking.fonts import missing_characters
from engine.marking.invisible import load_invisible
from engine.marking.stamp import stamp
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, Ratio
from hhray.marking_settings import MarkingPolicy, marking_of
from hhray.settings import Settings


def check_hooks(settings: Settings) -> None:
    """Refuse marks that cannot be made and hooks that are not there.

    Raises:
        ConfigError: the message names the setting and says what to do.
    """
    check_texts(settings, MarkingPolicy(), "marking")
    for name, tenant in settings.tenants.items():
        check_texts(settings, tenant.marking, f"tenants.{name}.marking")
    load_invisible(settings.marking.invisible)
    open_signer(settings.marking)
    open_moderation(settings.moderation)


def check_texts(settings: Settings, policy: MarkingPolicy, whose: str) -> None:
    """Refuse a text that the font cannot draw whole, rather than draw boxes.

    Raises:
        ConfigError: characters are missing in the font, or the label has no room on a picture that is offered.
    """
    marking, font = marking_of(settings.marking, policy, watermark_asked=True), settings.marking.font
    for name, text in (("watermark_text", marking.watermark), ("label_text", marking.label)):
        missing = missing_characters(text, font)
        if missing:
            raise ConfigError(
                f"{whose}.{name}: the font {font or 'of Pillow'} has no {missing!r} of {text!r}; name a font file that "
                "has in marking.font, or choose another text"
            )
    if marking.label:
        narrow = [ClipGeometry(tier, ratio, 3).output for tier in settings.engine.tiers for ratio in Ratio]
        for size in dict.fromkeys(narrow):
            try:
                stamp(marking.label, size, "top left", font)
            except ConfigError as error:
                raise ConfigError(f"{whose}.label_text: {error}; choose a shorter text") from error
