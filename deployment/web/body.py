"""Reading a create of the OpenAI dialect: multipart, urlencoded or JSON, within a limit, files on disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deployment.dialects.dashscope import MAX_BODY_BYTES, MAX_STREAM_BYTES
from deployment.dialects.dashscope_media import MAX_DATA_URI_BYTES
from deployment.dialects.openai_fields import MAX_FIELDS, Fields, Upload, nested
from deployment.dialects.openai_parse import json_fields
from deployment.keys import Caller
from deployment.services import Services
from hhray.errors import AccessDenied, BodyTooLarge, InvalidApiKey, InvalidParameter

MAX_FILES = 16


async def caller_of(services: Services, request: Request) -> Caller:
    """Who sent a request that has a body.

    Raises:
        InvalidApiKey, AccessDenied: as Services.caller; what is left of a small body was read, because one left unread
            would reset the connection under the client before it sees the answer.
    """
    try:
        return services.caller(request)
    except (InvalidApiKey, AccessDenied):
        await _drain(request.stream(), MAX_STREAM_BYTES)
        raise


@asynccontextmanager
async def fields_of(request: Request, max_file_bytes: int) -> AsyncIterator[Fields]:
    """The fields of the body; its files are gone when the block is left.

    Raises:
        BodyTooLarge: more came than `max_file_bytes` for files and the other dialect's limit for all else.
        InvalidParameter, IllegalInput: it is neither a form nor a JSON object.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        if b"boundary" not in options:
            raise InvalidParameter("body: expected a boundary in the Content-Type of multipart/form-data.")
        most = max_file_bytes + MAX_STREAM_BYTES
        stream = cast("AsyncGenerator[bytes, None]", _limited(request, most))
        parser = MultiPartParser(
            request.headers, stream, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_DATA_URI_BYTES
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise InvalidParameter(f"body: expected well-formed multipart/form-data. {error.message}") from error
        try:
            yield nested((name, _value(item)) for name, item in form.multi_items())
        finally:
            await form.close()
            for file in parser._files_to_close_on_error:  # one whose part has no end is in no form
                file.close()
        return
    most = MAX_BODY_BYTES if kind == b"application/x-www-form-urlencoded" else MAX_STREAM_BYTES
    body = bytearray()
    async for chunk in _limited(request, most):
        body += chunk
    yield _urlencoded(body) if kind == b"application/x-www-form-urlencoded" else json_fields(body)


def _value(item: str | UploadFile) -> str | Upload:
    return item if isinstance(item, str) else Upload(item.file, item.size or 0)


def _urlencoded(body: bytearray) -> Fields:
    try:
        return nested(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise InvalidParameter(f"body: expected at most {MAX_FIELDS} fields of a form in UTF-8.") from error


async def _limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body's pieces. Over the limit as much again is read and dropped, so that the client sees the answer."""
    seen, stream = 0, request.stream()
    async for chunk in stream:
        seen += len(chunk)
        if seen > most:
            await _drain(stream, MAX_STREAM_BYTES)
            raise BodyTooLarge(f"body: expected at most {most} bytes.")
        yield chunk


async def _drain(stream: AsyncIterator[bytes], most: int) -> None:
    async for chunk in stream:
        most -= len(chunk)
        if most < 0:
            return
