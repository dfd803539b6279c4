"""Which marks clips get: the server's policy, and what a tenant's policy changes of it.

On by default: the `AIGC` field, which the hosted API writes, too; the watermark wherever a request does not decline it,
as the hosted API does; and what the law of `regions` asks for beyond that. Mainland China (`cn`) asks for the opening
label; the European Union (`eu`) for a machine-readable mark that is signed (AI Act, article 50, as its code of practice
reads it), so that a server for it does not start without a certificate. Elsewhere no label is shown, and files are
signed as soon as there is a key. None of this is legal advice: the operator knows where clips are offered.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from hhray.marking import MAX_TEXT, MIN_LABEL_SECONDS, Marking
from hhray.settings_group import SettingsGroup

ENGLISH_LABEL, CHINESE_LABEL = "AI-generated", "AI生成"
# One line of characters that are written; no control characters, and no others that change the direction of text.
TEXT_PATTERN = "^[^\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]*$"


class Region(StrEnum):
    """Where clips are offered, as far as its law asks for marks."""

    CN = "cn"
    EU = "eu"


class WatermarkRule(StrEnum):
    """Who decides the visible watermark: the request (`parameters.watermark`), or the operator."""

    ASKED = "asked"
    ALWAYS = "always"
    NEVER = "never"


class MarkingPolicy(SettingsGroup):
    """A tenant's policy; what is left out is the server's."""

    regions: tuple[Region, ...] | None = Field(default=None, description="Where clips are offered: cn, eu.")
    watermark: WatermarkRule | None = Field(
        default=None, description="asked: as the request says, which is yes by default; or always, or never."
    )
    watermark_text: str | None = Field(
        default=None, min_length=1, max_length=MAX_TEXT, pattern=TEXT_PATTERN, description="Text at the bottom right."
    )
    label: bool | None = Field(default=None, description="Opening label (GB 45438-2025); left out: in region cn.")
    label_text: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT,
        pattern=TEXT_PATTERN,
        description=f"Of the opening label; left out: {CHINESE_LABEL} in region cn (give marking.font), "
        f"else {ENGLISH_LABEL}.",
    )
    label_seconds: float | None = Field(
        default=None, ge=MIN_LABEL_SECONDS, le=15, description="How long the opening label is shown."
    )
    aigc: bool | None = Field(default=None, description="The AIGC field in the file's metadata; left out: yes.")
    producer: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT,
        pattern=TEXT_PATTERN,
        description="Name or code of whoever offers the service: ContentProducer of the AIGC field, and in manifests.",
    )
    c2pa: bool | None = Field(default=None, description="Sign files; left out: where there is a key.")


class MarkingSettings(MarkingPolicy):
    """The server's policy, and what marks are made with."""

    font: str = Field(
        default="",
        description="Font file (TrueType, OpenType) of watermark and label; empty: Pillow's own, Latin letters only.",
    )
    c2pa_certificate: str = Field(default="", description="PEM file: certificate of the signer, then its chain.")
    c2pa_key: str = Field(default="", description="PEM file: the signer's private key (P-256, ES256), PKCS #8.")
    invisible: str = Field(
        default="",
        description="package.module:Class of an imperceptible watermark (engine.marking.invisible); empty: none.",
    )

    @property
    def signs(self) -> bool:
        """Whether there is what files are signed with."""
        return bool(self.c2pa_certificate and self.c2pa_key)


def marking_of(server: MarkingSettings, tenant: MarkingPolicy, watermark_asked: bool) -> Marking:
    """The marks of a clip that a tenant asks for."""
    wanted = server.model_copy(update=tenant.model_dump(exclude_none=True))
    in_china = Region.CN in (wanted.regions or ())
    rule = wanted.watermark or WatermarkRule.ASKED
    watermark = rule is WatermarkRule.ALWAYS or (rule is WatermarkRule.ASKED and watermark_asked)
    label = in_china if wanted.label is None else wanted.label
    text = wanted.label_text or (CHINESE_LABEL if in_china else ENGLISH_LABEL)
    return Marking(
        watermark=(wanted.watermark_text or "Happy Horse") if watermark else "",
        label=text if label else "",
        label_seconds=wanted.label_seconds or MIN_LABEL_SECONDS,
        producer="" if wanted.aigc is False else wanted.producer or "hhray",
        signed=server.signs if wanted.c2pa is None else wanted.c2pa,
        invisible=bool(server.invisible),
    )


def check_policy(server: MarkingSettings, tenant: MarkingPolicy, whose: str) -> None:
    """Refuse a policy that cannot be kept; `whose` begins the message, as `marking` or `tenants.acme.marking`.

    Raises:
        ValueError: files are to be signed and there is no key; half of a key is given.
    """
    if bool(server.c2pa_certificate) != bool(server.c2pa_key):
        raise ValueError("marking.c2pa_certificate and marking.c2pa_key go together; give both files or neither")
    regions = server.regions if tenant.regions is None else tenant.regions
    wanted = marking_of(server, tenant, watermark_asked=True)
    if wanted.signed and not server.signs:
        raise ValueError(f"{whose}.c2pa needs a key: give marking.c2pa_certificate and marking.c2pa_key")
    if Region.EU in (regions or ()) and not wanted.signed:
        raise ValueError(
            f"{whose}.regions: in eu files must be signed: give marking.c2pa_certificate and marking.c2pa_key, "
            "and do not turn c2pa off"
        )
    if Region.CN in (regions or ()) and not (wanted.producer and wanted.label):
        raise ValueError(f"{whose}.regions: in cn the opening label and the AIGC field are asked for; leave both on")
