"""How much a PNG's data unpacks to, found out piece by piece, before anything decodes it.

Pillow stops at the last row, but others do not, and what unpacks to more than its rows is no picture anybody drew.
Source: PNG (W3C, third edition), sections 5.3, 7 and 10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from hhray.errors import MediaError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 20
_SLACK_BYTES = 1 << 16


def check_png_data(file: BinaryIO) -> None:
    """Unpack the image data of a PNG without keeping any of it. Damaged ones are left to the decoder.

    Raises:
        MediaError: TooLarge: there is more than twice of what its width and height need.
    """
    unpacker, unpacked, allowed = zlib.decompressobj(), 0, 0
    for kind, data in _chunks(file):
        if kind == b"IHDR":
            allowed = 2 * _data_bytes(data) + _SLACK_BYTES
        elif kind == b"IDAT":
            rest = data
            while rest:
                try:
                    unpacked += len(unpacker.decompress(rest, _PIECE))
                except zlib.error:
                    return
                if unpacked > allowed:
                    raise MediaError(
                        "TooLarge", "the picture unpacks to more than its width and height need; send an undamaged one"
                    )
                rest = unpacker.unconsumed_tail


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk; data of others than IHDR and IDAT is skipped. Ends where the file is damaged."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND" or (kind == b"IHDR" and length != 13):
            return
        if kind == b"IDAT":
            while length:
                data = file.read(min(length, _PIECE))
                if not data:
                    return
                length -= len(data)
                yield kind, data
            file.seek(4, 1)
        elif kind == b"IHDR":
            yield kind, file.read(13)
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)


def _data_bytes(header: bytes) -> int:
    """Bytes of all rows, each with its filter byte, of a picture that is not interlaced."""
    if len(header) != 13:
        return 0
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    return int(height) * (1 + (int(width) * int(depth) * _CHANNELS.get(colour, 4) + 7) // 8)
