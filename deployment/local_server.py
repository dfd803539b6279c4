"""A whole server on this machine: a private Ray, the Serve application on it, and nothing left behind.

One data directory has one server: a lock file says so, and every process of its Ray carries the directory's tag in its
environment. Whoever holds the lock may end all tagged processes, for no live server owns them: that is how a start
clears up after a server that was killed, and how a stop makes sure that nothing stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from deployment.keys import check_binding
from deployment.model_on_offer import model_on_offer
from deployment.start_checks import check_hooks
from deployment.store import open_store, ready_store
from hhray.errors import ConfigError, EngineFault
from hhray.settings import Settings

TAG_VARIABLE = "HHRAY_SERVER_TAG"
APP_NAME = "hhray"
DRAIN_MARGIN_SECONDS = 10.0
# Where `free_port` looks: above the ports of Ray's workers, below those that systems hand out to whoever asks for any,
# such as the parts of a Ray that starts between the choice of a port and its use.
PORTS = range(20_000, 32_768)


class LocalServer:
    """Context manager: inside it the server runs and answers at `url`.

    Raises on entry:
        ConfigError: the data directory or the port is taken, or the settings do not fit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]
        self.tag = f"{os.getuid()}-{digest}"
        # Short, because Ray puts socket files below it and their paths are limited to 107 bytes.
        self.ray_dir = Path(tempfile.gettempdir()) / f"hhray-{self.tag}"
        self._lock_fd = -1
        self._started = False

    @property
    def url(self) -> str:
        """Where clients reach this server."""
        http = self.settings.http
        host = "127.0.0.1" if http.host == "0.0.0.0" else http.host  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{http.port}" if ":" in host else f"http://{host}:{http.port}"

    def __enter__(self) -> LocalServer:
        check_binding(self.settings)
        check_hooks(self.settings)
        model_on_offer(self.settings)
        _make_private(self.settings.home)
        self._take_lock()
        try:
            self.end_leftovers()
            _check_port_free(self.settings.http.host, self.settings.http.port)
            ready_store(self.settings)  # an older file is migrated, a bad or newer one refused
            self._start_ray()
            self._start_application()
        except BaseException:
            self._stop(drain_seconds=None)
            raise
        self._started = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(drain_seconds=self.settings.drain_seconds if error is None else None)

    def end_leftovers(self) -> list[int]:
        """End what a killed server on this data directory left behind; the process ids. The caller holds the lock."""
        doomed = [process for process in psutil.process_iter() if _tag_of(process) == self.tag]
        doomed = [process for process in doomed if process.pid != os.getpid()]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)
        for directory in (self.ray_dir, self.settings.scratch_dir):  # unfinished clips of dead ranks
            shutil.rmtree(directory, ignore_errors=True)
        return [process.pid for process in doomed]

    def _take_lock(self) -> None:
        path = self.settings.home / "server.lock"
        self._lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = path.read_text(encoding="ascii").strip() or "unknown"
            os.close(self._lock_fd)
            self._lock_fd = -1
            raise ConfigError(
                f"a server (pid {holder}) already runs on {self.settings.home}; stop it, or set another data_dir"
            ) from error
        os.ftruncate(self._lock_fd, 0)
        os.write(self._lock_fd, str(os.getpid()).encode("ascii"))

    def _start_ray(self) -> None:
        _make_private(self.ray_dir)
        _set_ray_environment(self.settings)
        import ray  # noqa: PLC0415 - Ray reads the environment set above when it is imported

        # Ray's processes inherit the tag from here; nothing else started by this process may.
        os.environ[TAG_VARIABLE] = self.tag
        try:
            ray.init(
                address="local",
                namespace=APP_NAME,
                num_cpus=max(4, os.cpu_count() or 1),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(self.ray_dir),
            )
        finally:
            del os.environ[TAG_VARIABLE]

    def _start_application(self) -> None:
        from ray import serve  # noqa: PLC0415 - after ray.init, as above

        from deployment.rollout import roll_out  # noqa: PLC0415 - imports ray

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        http = self.settings.http
        serve.start(proxy_location="HeadOnly", http_options={"host": http.host, "port": http.port})
        store = open_store(self.settings)
        try:
            store.set_drain(None)
        finally:
            store.close()
        try:
            roll_out(self.settings, APP_NAME)
        except RuntimeError as error:  # Serve gave up on a part of it
            raise EngineFault(f"the server did not start: {_cause_of(serve.status())}") from error

    def _stop(self, drain_seconds: float | None) -> None:
        """Drain (unless None), shut Serve and Ray down, make sure that nothing stays; also after half a start."""
        try:
            if self._started and drain_seconds is not None:
                self._drain(drain_seconds)
            if "ray" in sys.modules:
                _shut_ray_down(self._started)
        finally:
            self._started = False
            if self._lock_fd >= 0:
                self.end_leftovers()
                os.close(self._lock_fd)
                self._lock_fd = -1

    def _drain(self, seconds: float) -> None:
        """Stop claiming; wait until running clips ended or, after `seconds`, were put back to PENDING."""
        store = open_store(self.settings)
        try:
            store.set_drain(seconds)
            deadline = time.monotonic() + seconds + DRAIN_MARGIN_SECONDS
            while store.depth().running and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            store.close()


def _shut_ray_down(serving: bool) -> None:
    import ray  # noqa: PLC0415 - only where it was started
    from ray import serve  # noqa: PLC0415 - likewise

    # Ray prints that the calls it is told to abandon were abandoned; whoever asked for a stop knows.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        if serving:
            serve.shutdown()
        ray.shutdown()


def _set_ray_environment(settings: Settings) -> None:
    """Ray for one user on one machine: no telemetry, a token of its own, sockets on loopback."""
    token = settings.home / "ray_token"
    if not token.exists():
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    values = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    secret = settings.keys.secret.get_secret_value()
    if settings.autoscales and secret:
        values["HHRAY_KEYS__SECRET"] = secret  # not in the arguments of a config: Serve logs those
    os.environ.update(values)


def _tag_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(TAG_VARIABLE)
    except (psutil.Error, OSError):
        return None  # gone, or another user's: not ours


def _make_private(path: Path) -> None:
    """Create a directory for this user alone.

    Raises:
        ConfigError: it cannot be made, or it belongs to somebody else.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.stat().st_uid != os.getuid():
            raise ConfigError(f"{path} belongs to another user; choose another data_dir")
    except OSError as error:
        raise ConfigError(f"cannot use the directory {path}: {error}") from error


def _check_port_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
            ) from error


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    ports = list(PORTS)
    secrets.SystemRandom().shuffle(ports)
    for port in ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ConfigError(f"no TCP port of {PORTS.start} to {PORTS.stop - 1} is free on the loopback interface")


def _cause_of(status: Any) -> str:  # noqa: ANN401 - Serve's schema has no types here
    """What the parts that failed say: the first line of each that names an error of ours, else their last line."""
    application = status.applications[APP_NAME]
    parts = [*application.deployments.values()] or [application]  # it has no parts when it could not be built
    causes = []
    for text in (one.message for one in parts if one.message):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        ours = [line for line in lines if line.startswith("hhray.errors.")]
        causes.append((ours or lines[-1:])[0].removeprefix("hhray.errors."))
    return "; ".join(causes) or "see the logs of Serve"
