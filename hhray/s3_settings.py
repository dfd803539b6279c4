"""Settings of the S3-compatible store that `store.artifact_url` names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from hhray.settings_group import SettingsGroup

_SECRETS = ("access_key_id", "secret_access_key", "session_token")


class S3Settings(SettingsGroup):
    """How the store is reached. It needs GetObject, PutObject, DeleteObject and ListBucket below the prefix."""

    endpoint: str = Field(default="", description="URL of the store; empty: Amazon S3 in `region`.")
    public_endpoint: str = Field(
        default="", description="URL of the store as clients reach it, for presigned downloads; empty: `endpoint`."
    )
    region: str = Field(default="us-east-1", pattern=r"^[A-Za-z0-9-]{1,40}$", description="Region signed for.")
    credentials: Literal["given", "environment"] = Field(
        default="given",
        description="given: the keys below. environment: the standard AWS chain - AWS_* variables, a web identity "
        "token, the container's or the instance's role. A presigned URL ends with the credentials it was made with, "
        "a role's within hours: use url_style proxied, or long-lived keys.",
    )
    access_key_id: SecretStr = Field(default=SecretStr(""), description="Access key id, where `credentials` is given.")
    secret_access_key: SecretStr = Field(default=SecretStr(""), description="Its secret.")
    session_token: SecretStr = Field(default=SecretStr(""), description="Session token of temporary keys.")
    path_style: bool = Field(
        default=True, description="The bucket is in the path of URLs; false: in the host name, as Amazon prefers."
    )
    encryption: Literal["", "AES256", "aws:kms"] = Field(
        default="", description="Server-side encryption asked for with each file; empty: what the bucket does itself."
    )
    kms_key_id: str = Field(default="", description="Key of aws:kms; empty: the account's own.")
    conditional: bool = Field(
        default=True,
        description="Clips and uploads are put with If-None-Match, so that nothing is overwritten; false: for a store "
        "without it, where only the attempt in the key keeps two owners apart.",
    )
    verify: Literal["read_back", "checksum"] = Field(
        default="read_back",
        description="read_back: each file is read again after it was put, and its SHA-256 compared. checksum: the "
        "store's own check of the SHA-256 sent along is trusted, and only the length is asked.",
    )
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest exchange: a whole file is put or read within it."
    )
    connect_seconds: float = Field(default=5.0, gt=0, description="Longest wait for a connection.")

    @field_validator("endpoint", "public_endpoint")
    @classmethod
    def _is_url(cls, url: str) -> str:
        host = url.removeprefix("http://").removeprefix("https://").rstrip("/")
        if url and (host == url.rstrip("/") or not host or "/" in host or "@" in host):
            raise ValueError("expected http://host:port or https://host:port, without a path, a user or a password")
        return url.rstrip("/")

    def to_args(self) -> dict[str, Any]:
        """Plain values that rebuild these settings, secrets included."""
        return {**self.model_dump(mode="json"), **{name: getattr(self, name).get_secret_value() for name in _SECRETS}}
