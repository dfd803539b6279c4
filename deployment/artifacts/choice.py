"""Which store of files the settings name."""

from __future__ import annotations

from deployment.artifacts.directory import DirectoryArtifacts
from deployment.artifacts.protocol import ArtifactStore
from hhray.settings import Settings


def open_artifacts(settings: Settings, secret: bytes) -> ArtifactStore:
    """The store of files of a process: a directory, or the S3-compatible store that `store.artifact_url` names.

    `secret` signs download paths of this server.

    Raises:
        ConfigError: the settings of the store do not fit.
    """
    if settings.store.artifact_url:
        from deployment.artifacts.s3 import S3Artifacts  # noqa: PLC0415 - its client is for those who have such a store

        return S3Artifacts(settings, secret)
    return DirectoryArtifacts(settings.artifact_dir, secret, settings.store.min_free_bytes)
