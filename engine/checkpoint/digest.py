"""The name of weights by their bytes, for the audit log: which weights made a clip."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

logger = logging.getLogger("ray.serve")


def weights_digest(folder: Path | None, random_name: str) -> str:
    """SHA-256 over names and bytes of all files of a folder of weights, in the order of their names.

    Some seconds for 10 GB. Without a folder the weights are random ones of a fixed seed: "random:" and `random_name`.
    Empty when a file cannot be read, which is logged: a clip is not lost for the sake of a name.
    """
    if folder is None:
        return f"random:{random_name}"
    total = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()}\n{digest}\n".encode())
    except OSError as error:
        logger.error("the weights in %s cannot be named: %s", folder, error)
        return ""
    return total.hexdigest()
