"""C2PA manifests ("content credentials"): a finished clip says, signed, that a trained model made it.

By c2pa-python (optional extra `c2pa`), with a certificate and a key from files. The certificate must be one that C2PA
takes for signing (an end entity with an extended key usage such as emailProtection); whether anybody trusts it is not
for this server to say: what it signs is checked to be valid. There is no time stamp of a third party in it, because
that would ask a server elsewhere for each clip.
"""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from hhray.errors import ConfigError, MarkingFailed
from hhray.marking_settings import MarkingSettings

ALGORITHM = b"es256"
MP4 = "video/mp4"
# https://cv.iptc.org/newscodes/digitalsourcetype: "created algorithmically using an AI model"
TRAINED_ALGORITHM = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TASK_ASSERTION = "com.github.hhray.task"


class ManifestSigner:
    """Signs files with the key of the settings; calls may come from several threads.

    Raises:
        ConfigError: the library is not installed, a file cannot be read, or the two do not belong together.
    """

    def __init__(self, settings: MarkingSettings) -> None:
        self._library = _library()
        self._certificate = _read("marking.c2pa_certificate", settings.c2pa_certificate)
        self._key = _read("marking.c2pa_key", settings.c2pa_key)
        try:
            self._sign_a_picture()
        except self._library.C2paError as error:
            raise ConfigError(
                f"marking.c2pa_certificate, marking.c2pa_key: nothing can be signed with them: {error}; expected the "
                "signer's certificate with its chain, and its P-256 key as PKCS #8, both PEM"
            ) from error

    def sign(self, path: Path, task_id: str, model: str, producer: str) -> None:
        """Replace the MP4 at `path` by a signed one.

        Raises:
            MarkingFailed: it cannot be signed.
        """
        signed = path.with_suffix(".signed.mp4")
        try:
            with self._signer() as signer, self._library.Builder(_manifest(task_id, model, producer, MP4)) as builder:
                builder.sign_file(path, signed, signer)
            signed.replace(path)
        except (self._library.C2paError, OSError) as error:
            raise MarkingFailed(f"the clip could not be signed: {error}") from error
        finally:
            signed.unlink(missing_ok=True)

    def _signer(self) -> Any:  # noqa: ANN401 - the library's
        info = self._library.C2paSignerInfo(
            alg=ALGORITHM, sign_cert=self._certificate, private_key=self._key, ta_url=None
        )
        return self._library.Signer.from_info(info)

    def _sign_a_picture(self) -> None:
        """Only a signature shows that certificate and key belong together."""
        source = io.BytesIO()
        Image.new("RGB", (8, 8)).save(source, "PNG")
        source.seek(0)
        manifest = _manifest("none", "none", "none", "image/png")
        with self._signer() as signer, self._library.Builder(manifest) as builder:
            builder.sign(signer, "image/png", source, io.BytesIO())


def open_signer(settings: MarkingSettings) -> ManifestSigner | None:
    """What files are signed with; None where there is no key.

    Raises:
        ConfigError: as ManifestSigner.
    """
    return ManifestSigner(settings) if settings.signs else None


def check_manifest(path: Path, task_id: str) -> None:
    """Read a signed file back.

    Raises:
        MarkingFailed: it has no valid manifest, or not one of this task by a trained model.
    """
    library = _library()
    try:
        with path.open("rb") as file, library.Reader(MP4, file) as reader:
            state, manifest = reader.get_validation_state(), reader.get_active_manifest()
    except (library.C2paError, OSError) as error:
        raise MarkingFailed(f"the signed clip cannot be read back: {error}") from error
    if state not in ("Valid", "Trusted"):
        raise MarkingFailed(f"the signed clip reads back as {state}")
    text = json.dumps(manifest)
    if task_id not in text or TRAINED_ALGORITHM not in text:
        raise MarkingFailed("the signed clip's manifest is not that of its task")


def _manifest(task_id: str, model: str, producer: str, kind: str) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": TRAINED_ALGORITHM,
        "softwareAgent": {"name": model},
    }
    return {
        "claim_generator_info": [{"name": "hhray", "version": version("hhray")}],
        "title": task_id,
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": TASK_ASSERTION, "data": {"producer": producer, "task_id": task_id}},
        ],
    }


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        import c2pa  # noqa: PLC0415 - optional, and a native library of some size
    except ImportError as error:
        raise ConfigError("to sign clips, c2pa-python is needed: pip install 'hhray[c2pa]'") from error
    return c2pa


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path!r} cannot be read: {error.strerror}") from error
