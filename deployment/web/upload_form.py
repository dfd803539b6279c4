"""An upload's form, read piece by piece from the request: some short fields, then one file as the last part.

Nothing is kept but the fields and the piece at hand, so that an upload of any size takes no memory and is counted while
it comes. Multipart form data is RFC 7578; the order of the parts is what clients of the hosted API send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hhray.errors import InvalidParameter

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS = 32
MAX_FIELD_BYTES = 8192
MAX_HEADER_BYTES = 8192


class UploadForm:
    """`stream` gives the request's body. First `fields`, then `chunk` until it is empty."""

    def __init__(self, stream: AsyncIterator[bytes], content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
            raise InvalidParameter("expected a multipart/form-data request with a boundary.")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_began,
            "on_part_data": self._data,
            "on_part_end": self._part_ended,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ended,
            "on_headers_finished": self._headers_ended,
            "on_end": self._ended,
        }
        self._parser = MultipartParser(boundary, callbacks)
        self._stream = stream
        self._fields: dict[str, str] = {}
        self._name, self._disposition = "", b""
        self._header, self._value, self._text = bytearray(), bytearray(), bytearray()
        self._piece = bytearray()
        self._in_file = self._file_done = self._done = False

    async def fields(self) -> dict[str, str]:
        """The fields before the file.

        Raises:
            InvalidParameter: it is no such form, or holds no file.
        """
        while not self._in_file and not self._done:
            await self._read()
        if not self._in_file:
            raise InvalidParameter('expected the file in a part of the name "file", the last of the form.')
        return self._fields

    async def chunk(self) -> bytes:
        """The next piece of the file; b"" after its end. Raises InvalidParameter when the form breaks off."""
        while not self._piece and not self._file_done:
            await self._read()
        piece = bytes(self._piece)
        self._piece.clear()
        return piece

    async def drain(self, most_bytes: int) -> None:
        """Read on, at most so much, and drop it: a client that still sends does not see the answer."""
        async for data in self._stream:
            most_bytes -= len(data)
            if most_bytes < 0:
                return

    async def _read(self) -> None:
        data = await anext(self._stream, b"")
        if not data:
            self._broken_off()
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidParameter("expected a well-formed multipart/form-data request.") from error

    def _broken_off(self) -> None:
        raise InvalidParameter("the form breaks off: expected a file and the closing boundary.")

    def _part_began(self) -> None:
        self._name, self._disposition = "", b""
        self._text.clear()
        if len(self._fields) >= MAX_FIELDS:
            raise InvalidParameter(f"expected at most {MAX_FIELDS} fields before the file.")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._header, data[start:end], MAX_HEADER_BYTES)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._value, data[start:end], MAX_HEADER_BYTES)

    def _header_ended(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_ended(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file" and not self._file_done:
            self._in_file = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file_done:
            return  # parts after the file say nothing
        if self._in_file:
            self._piece += data[start:end]
        else:
            self._grow(self._text, data[start:end], MAX_FIELD_BYTES)

    def _part_ended(self) -> None:
        if self._in_file:
            self._file_done = True
        else:
            self._fields[self._name] = self._text.decode("utf-8", "replace")

    def _ended(self) -> None:
        self._done = True

    def _grow(self, text: bytearray, more: bytes, most: int) -> None:
        if len(text) + len(more) > most:
            raise InvalidParameter(f"expected form fields and headers of at most {most} bytes.")
        text += more
