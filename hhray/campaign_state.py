"""What a campaign has done so far: one file in its folder, exchanged as a whole; a kill leaves the old or the new."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hhray.errors import ClientError, ConfigError

STATE_FILE = "campaign.json"
LOCK_FILE = ".campaign.lock"
WAITING, SUBMITTED, DONE, FAILED = "waiting", "submitted", "done", "failed"


@dataclass(slots=True)
class Progress:
    """How far one variant is. `key` is the variant's own, `tries` counts tasks of it that ended without a clip;
    `seconds` are from submit to the file, of the run that brought it."""

    status: str = WAITING
    key: str = ""
    task_id: str = ""
    file: str = ""
    seconds: float = 0.0
    error: str = ""
    tries: int = 0


@dataclass(slots=True)
class CampaignState:
    """All variants by name. `salt` is drawn once for a folder: keys of two campaigns never meet."""

    path: Path
    salt: str
    variants: dict[str, Progress] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> CampaignState:
        """The state in this folder, or a new one (not written yet).

        Raises:
            ConfigError: the file there is none of ours.
        """
        path = folder / STATE_FILE
        if not path.exists():
            return cls(path, secrets.token_hex(8))
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            variants = {str(name): Progress(**fields) for name, fields in read["variants"].items()}
            return cls(path, str(read["salt"]), variants)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is no state of a campaign; choose another --out, or remove it") from error

    def write(self) -> None:
        """Exchange the file for what is known now.

        Raises:
            ClientError: it cannot be written.
        """
        known = {"salt": self.salt, "variants": {name: asdict(one) for name, one in self.variants.items()}}
        part = self.path.with_suffix(".part")
        try:
            with part.open("w", encoding="utf-8") as file:
                json.dump(known, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            raise ClientError(f"cannot write {self.path}: {error.strerror}; choose another --out") from error


@contextmanager
def campaign_folder(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone; a kill frees it.

    Raises:
        ConfigError: it cannot be made, or another process works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot use the folder {folder}: {error.strerror}; choose another --out") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"another hhray batch works in {folder}; wait for it, or choose another --out") from error
    finally:
        os.close(descriptor)
