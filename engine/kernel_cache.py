"""Compiled kernels on disk, so that only the first start on a kind of machine compiles.

torch's compiler keeps pickles and libraries in a folder: whoever can write there can run code here. So the folder is
this server's own, never one that was brought along: it is made with mode 0700, and not used if it is a link, belongs
to another user, or is open to others. Against damage there is a list of what a start left behind, with checksums. What
is not on the list is deleted at the next start; if anything on it is missing or changed, all is, and compiled anew.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # where torch looks for its folder
CONTENTS, LOCK = "contents.json", "lock"


class KernelCache:
    """A folder of kernels below `root`, for one process; without a root it is dropped when the process ends.

    `facts` are what kernels depend on: folders of other facts are left alone. Processes of the same facts have a folder
    each, which the next start finds again. `problem` says why nothing is kept, if so.
    """

    def __init__(self, root: Path | None, facts: Mapping[str, Any]) -> None:
        text = json.dumps(facts, sort_keys=True, default=str)
        self._name = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._root, self._facts, self.problem = root, json.loads(text), ""
        self._lock: int | None = None  # a file descriptor: it must outlive this object
        self._discarded = False
        self.folder = Path()

    def open(self) -> None:
        """Let torch's compiler use the folder, from now on and in this process."""
        try:
            self._open_kept()
        except OSError as error:
            self.problem = str(error)
            logger.warning("compiled kernels are not kept: %s", error)
        if self._lock is None:
            self.folder = Path(tempfile.mkdtemp(prefix="hhray-kernels-"))  # with mode 0700
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        os.environ[VARIABLE] = str(self.folder)

    def seal(self) -> None:
        """Note what the folder holds now; the next start believes this and no more."""
        if self._lock is not None and not self._discarded:
            listed = {"facts": self._facts, "files": {name: _digest(path) for name, path in self._files().items()}}
            new = self.folder / f"{CONTENTS}.new"
            new.write_text(json.dumps(listed, indent=1), encoding="utf-8")
            new.replace(self.folder / CONTENTS)

    def discard(self) -> None:
        """Let the next start compile anew, whatever is sealed after."""
        self._discarded = True
        (self.folder / CONTENTS).unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_kept(self) -> None:
        if self._root is None:
            return
        _own(self._root)
        for number in count():
            self.folder = self._root / f"{self._name}-{number}"
            _own(self.folder)
            lock = _locked(self.folder / LOCK)
            if lock is not None:
                break
        self._drop_unknown()
        self._lock = lock

    def _drop_unknown(self) -> None:
        files, listed = self._files(), self._listed()
        if any(name not in files or _digest(files[name]) != digest for name, digest in listed.items()):
            logger.warning("the compiled kernels in %s are damaged; they are compiled anew", self.folder)
            listed = {}
        for name in files.keys() - listed.keys():
            files[name].unlink()

    def _listed(self) -> dict[str, str]:
        try:
            files: dict[str, str] = json.loads((self.folder / CONTENTS).read_text(encoding="utf-8"))["files"]
            return dict(files)
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            logger.warning("the list of the compiled kernels in %s is damaged; they are compiled anew", self.folder)
            return {}

    def _files(self) -> dict[str, Path]:
        paths = [path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        names = {path.relative_to(self.folder).as_posix(): path for path in paths}
        return {name: path for name, path in names.items() if name not in (CONTENTS, LOCK)}


def _own(folder: Path) -> None:
    """Make it, or make sure that it is a directory of this user's, closed to all others.

    Raises:
        OSError: it is not, or cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} must be a directory of this user with mode 0700, since what lies there is run as code; "
            "remove it, or name another"
        )


def _locked(path: Path) -> int | None:
    """The lock on a folder, held until the process ends; None while another process holds it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
