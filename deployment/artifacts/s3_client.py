"""The client of an S3-compatible store: made of settings alone, its errors turned into sentences without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from hhray.errors import ArtifactsUnavailable, ConfigError
from hhray.s3_settings import S3Settings

# One more try for a dropped connection; whoever calls has a patience of his own.
RETRIES = 1
LONGEST_PAUSE_SECONDS = 0.5
# What tells that other bytes lie under the key.
TAKEN = (AlreadyExistsError, PreconditionError)


def open_client(url: str, settings: S3Settings, endpoint: str = "") -> S3Store:
    """A client of the bucket and prefix of `s3://bucket/prefix`; `endpoint` takes the place of the settings' own.

    Keys and address are given with every client: the library's own look at AWS_* variables counts for keys only where
    `credentials` says so, and for options of encryption.

    Raises:
        ConfigError: no keys are given, or what is given fits no store.
    """
    bucket, prefix = bucket_and_prefix(url)
    address = address_of(url, settings, endpoint)
    config: dict[str, Any] = {
        "endpoint": address,
        "aws_endpoint_url_s3": address,
        "region": settings.region,
        "virtual_hosted_style_request": not settings.path_style,
        "checksum_algorithm": "SHA256",
        "conditional_put": "etag",
        "skip_signature": False,
        "unsigned_payload": False,
        "s3_express": False,
        "request_payer": False,
    }
    if settings.encryption:
        config["server_side_encryption"] = settings.encryption
    if settings.kms_key_id:
        config["sse_kms_key_id"] = settings.kms_key_id
    given = {} if settings.credentials == "environment" else {"credential_provider": _given_keys(settings)}
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=config,  # type: ignore[arg-type]  # the one value of two names is no part of its type
            client_options={
                "allow_http": address.startswith("http://"),
                "timeout": timedelta(seconds=settings.timeout_seconds),
                "connect_timeout": timedelta(seconds=settings.connect_seconds),
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=settings.timeout_seconds),
                "backoff": {"max_backoff": timedelta(seconds=LONGEST_PAUSE_SECONDS)},
            },
            **given,
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"store.artifact_url {url} cannot be used with store.s3: {_first_line(error)}") from None


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The parts of `s3://bucket/prefix`."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix


def address_of(url: str, settings: S3Settings, endpoint: str = "") -> str:
    """Scheme and host that are spoken to; the bucket's name is in the host, or else in the path."""
    address = endpoint or settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    if settings.path_style:
        return address
    scheme, _, host = address.partition("://")
    return f"{scheme}://{bucket_and_prefix(url)[0]}.{host}"


def _given_keys(settings: S3Settings) -> Any:  # noqa: ANN401 - obstore's protocol has no name at run time
    key, secret = settings.access_key_id.get_secret_value(), settings.secret_access_key.get_secret_value()
    token = settings.session_token.get_secret_value() or None
    if not key or not secret:
        raise ConfigError(
            "store.artifact_url needs store.s3.access_key_id and store.s3.secret_access_key, or store.s3.credentials: "
            "environment for the role of this machine"
        )

    def provide() -> dict[str, Any]:
        return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}

    return provide


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Errors of the client raised inside become ArtifactsUnavailable; FileNotFoundError and what tells of a key that
    is taken pass.

    The message names the store's own code and status and nothing else of its answer, which may repeat key ids.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "<Code>NoSuchBucket</Code>" in str(error):
            said = "there is no such bucket; make that of store.artifact_url"
            raise ArtifactsUnavailable(f"cannot {what}: {said}") from None
        raise FileNotFoundError(f"cannot {what}: the store answers that it is not there") from None
    except TAKEN:
        raise
    except BaseError as error:
        raise ArtifactsUnavailable(f"cannot {what}: {_reason(error)}") from None


def _reason(error: BaseError) -> str:
    text = str(error).partition("Debug source")[0]
    code = re.search(r"<Code>([A-Za-z0-9.]{1,60})</Code>", text)
    status = re.search(r"status code: ([0-9]{3})", text)
    told = " ".join(part for part in (status.group(1) if status else "", code.group(1) if code else "") if part)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or (status and status.group(1) == "403"):
        return f"the store refuses ({told or 'no access'}); expected keys of store.s3 that may read, write and list"
    if told:
        return f"the store answers {told}; it is tried again"
    slow = "TimedOut" in str(error)
    return "the store answers too slowly" if slow else "the store does not answer; expected it at store.s3.endpoint"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
