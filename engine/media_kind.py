"""What a file is by its first bytes, whatever its name or a header says. Pure functions."""

from __future__ import annotations

import re

from hhray.errors import MediaError

HEAD_BYTES = 512
PICTURES = ("a JPEG picture", "a PNG picture", "a WEBP picture")
VIDEO = "an MP4 or MOV video"
# First boxes of ISO 14496-12 and QuickTime files.
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_MAGICS = (
    (b"\xff\xd8\xff", PICTURES[0]),
    (b"\x89PNG\r\n\x1a\n", PICTURES[1]),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"ffconcat", "a concat script, which names other files"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
)
_MARKUP = re.compile(rb"<\s*(?:\?xml|!doctype|!--|html|head|body|svg|mpd)")


def kind_of(head: bytes) -> str:
    """The kind of a file that begins so, in words; "" if it is none that is known."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return PICTURES[2]
    if head[4:8] in _FIRST_BOXES:
        return VIDEO
    return next((kind for magic, kind in _MAGICS if head.startswith(magic)), "") or _kind_of_text(head)


def _kind_of_text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"#extm3u"):
        return "an HLS playlist, which names other files"
    if not _MARKUP.match(text):
        return ""
    if b"<svg" in text:
        return "an SVG drawing"
    return "a DASH manifest, which names other files" if b"<mpd" in text else "an HTML or XML page"


def check_picture_kind(head: bytes) -> None:
    """Raises:
    MediaError: the file is none of the three kinds of picture; it says which kind it is, where that is known.
    """
    if kind_of(head) not in PICTURES:
        raise unsupported("picture", "JPEG, PNG or WEBP file", kind_of(head))


def check_video_kind(head: bytes) -> None:
    """Raises:
    MediaError: the file is no MP4 or MOV; it says which kind it is, where that is known.
    """
    if kind_of(head) != VIDEO:
        raise unsupported("video", "MP4 or MOV file", kind_of(head))


def unsupported(what: str, wanted: str, kind: str = "") -> MediaError:
    """The error for a file of another kind."""
    known = f": this is {kind}" if kind else ""
    return MediaError("UnsupportedFileFormat", f"the {what} cannot be read{known}; send an undamaged {wanted}")
