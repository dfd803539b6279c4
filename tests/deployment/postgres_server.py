"""A real PostgreSQL server in a temporary folder, for tests: initdb, loopback only, no fsync, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import psycopg

START_SECONDS = 60.0


@cache
def programs() -> Path | None:
    """The folder of postgres and initdb; None where there is none. Debian does not put it on the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


class PostgresServer:
    """Context manager; `url(database)` names one of its databases."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hhray-postgres-"))
        self.data = self.folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # PostgreSQL refuses to run as root
        self._user = None if os.getuid() else _first_user("postgres", "nobody")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        if self._user:
            shutil.chown(self.folder, self._user, pwd.getpwnam(self._user).pw_gid)
        try:
            subprocess.run(
                [programs() / "initdb", "--no-sync", "--auth=trust", "--username=hhray", "--pgdata", self.data],
                **self._as_user(),
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=START_SECONDS,
            )
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://hhray@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "32MB",
            "max_connections": "60",
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self.data, *(f"-c{name}={value}" for name, value in options.items())],
                **self._as_user(),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it as a crash does: SIGQUIT, no goodbye to clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def freeze(self, signal_number: signal.Signals) -> None:
        """Send SIGSTOP or SIGCONT to the server and all its processes."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [str(self._process.pid), *children]:
            os.kill(int(pid), signal_number)

    def _as_user(self) -> dict[str, object]:
        user = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid} if self._user else {}
        return {"cwd": self.folder, **user}


def _first_user(*names: str) -> str:
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise RuntimeError(f"PostgreSQL does not run as root, and there is none of the users {names}")
