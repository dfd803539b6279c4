"""Settings of what is kept, and of what is let in: task store, artifacts, media, keys."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from hhray.s3_settings import S3Settings
from hhray.settings_group import SettingsGroup


class StoreSettings(SettingsGroup):
    """Task store and artifact store; empty paths lie under `data_dir`."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL database of tasks, postgresql://user:password@host:5432/database, made by `hhray "
        "migrate`; empty: a SQLite file, for one machine.",
    )
    connections: int = Field(default=8, ge=1, description="Most PostgreSQL connections of one process.")
    cluster: str = Field(
        default="main",
        pattern=r"^[\w.-]{1,64}$",
        description="Name of this Ray cluster among those that share a PostgreSQL database; each drains by itself.",
    )
    sqlite_path: str = Field(default="", description="SQLite file; empty: <data_dir>/tasks.sqlite3.")
    artifact_dir: str = Field(default="", description="Directory of inputs and clips; empty: <data_dir>/artifacts.")
    artifact_url: str = Field(
        default="",
        description="S3-compatible store of inputs and clips, s3://bucket or s3://bucket/prefix; empty: artifact_dir.",
    )
    s3: S3Settings = S3Settings()
    url_style: Literal["presigned", "proxied"] = Field(
        default="presigned",
        description="Downloads from an S3-compatible store: presigned, from the store itself by a URL it checks; or "
        "proxied, through this server. A directory is always served by this server.",
    )
    lease_seconds: float = Field(default=20.0, gt=0, description="A running task not renewed for so long is requeued.")
    max_faults: int = Field(default=3, ge=1, description="A task that made this many gangs fail ends FAILED.")
    task_ttl_seconds: float = Field(default=86400.0, gt=0, description="Tasks and files are kept so long after submit.")
    min_free_bytes: int = Field(
        default=256 * 1024**2,
        ge=0,
        description="With less room on a disk no clip is begun on its engine, and no new media is taken in.",
    )
    orphan_grace_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Files that no task names are removed at this age; longer than engine.publish_patience_seconds.",
    )
    url_ttl_seconds: float = Field(default=86400.0, gt=0, description="Life of a signed download URL.")
    max_queued: int = Field(
        default=10000, ge=1, description="Creates are refused with 429 beyond so many unfinished tasks."
    )

    @field_validator("artifact_url")
    @classmethod
    def _known_artifacts(cls, url: str) -> str:
        if not re.fullmatch(r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?)?", url) or ".." in url:
            raise ValueError("expected s3://bucket or s3://bucket/prefix of plain names, or nothing for a directory")
        return url.rstrip("/")

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not re.match("(postgres(ql)?://|memory:|$)", url.get_secret_value()):
            raise ValueError("expected postgresql://user:password@host:5432/database, or nothing for a SQLite file")
        return url


class MediaSettings(SettingsGroup):
    """Intake of media files."""

    allowed_private: tuple[str, ...] = Field(
        default=(),
        description="host:port pairs that may be connected to although their "
        "address is private, for media and webhooks; each redirect is checked anew.",
    )
    ports: tuple[int, ...] = Field(
        default=(80, 443),
        min_length=1,
        description="TCP ports of the public internet that may be connected to, for media and webhooks; "
        "allowed_private needs none of them.",
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest download of one picture.")
    idle_seconds: float = Field(default=10.0, gt=0, description="A download that brings nothing for so long is ended.")
    task_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest download of all files of one task together, a video among them."
    )
    max_bytes: int = Field(default=20_000_000, ge=1, description="Largest picture file.")
    max_video_bytes: int = Field(default=100_000_000, ge=1, description="Largest video file.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="Largest picture, checked before it is decoded.")
    max_redirects: int = Field(default=3, ge=0, description="Redirects followed for one file.")
    probe_seconds: float = Field(default=20.0, gt=0, description="CPU time a look into one file may take.")
    probe_bytes: int = Field(default=2 * 1024**3, ge=1, description="Memory a look into one file may take.")


class KeySettings(SettingsGroup):
    """Who may call. No file and no keys: loopback only, and any bearer is accepted."""

    file: str = Field(
        default="", description="JSON file written by `hhray keys create`; empty: <data_dir>/keys.json if it exists."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Server secret for key hashes and URL signatures; "
        "empty: <data_dir>/secret, made at first start, readable by its owner only.",
    )
