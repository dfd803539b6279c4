"""Files of tasks - inputs, clips, previews - and uploads: in a directory or in an S3-compatible store."""

from deployment.artifacts.choice import open_artifacts
from deployment.artifacts.directory import DirectoryArtifacts
from deployment.artifacts.keys import clip_key, input_key, preview_key, tenant_slug, upload_key
from deployment.artifacts.protocol import ArtifactStore, FileFacts, Fill, StoredFile
from deployment.artifacts.served_as import disposition, file_name, media_type

__all__ = [
    "ArtifactStore",
    "DirectoryArtifacts",
    "FileFacts",
    "Fill",
    "StoredFile",
    "clip_key",
    "disposition",
    "file_name",
    "input_key",
    "media_type",
    "open_artifacts",
    "preview_key",
    "tenant_slug",
    "upload_key",
]
