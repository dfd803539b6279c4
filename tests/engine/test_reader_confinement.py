"""What a reader process cannot do any more, tried from inside one."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import textwrap

import pytest

TRIED = textwrap.dedent(
    """
    import ctypes, errno, json, os, socket, subprocess, sys, threading
    from engine.reader_confinement import accept_limits, leave_network
    accept_limits(2 * 1024**3, 5, 1000)
    told = {"left": leave_network()}

    def attempt(name, act):
        try:
            act()
            told[name] = "done"
        except OSError as error:
            told[name] = errno.errorcode.get(error.errno, "?")

    def socketpair():
        socket.socketpair()

    def too_long():
        with open(sys.argv[1], "wb", buffering=0) as file:
            file.write(bytes(1000))
            file.write(bytes(1))

    def thread():
        worker = threading.Thread(target=attempt, args=("a socket of a thread", socket.socket))
        worker.start()
        worker.join()

    attempt("a TCP socket", socket.socket)
    attempt("a unix socket", lambda: socket.socket(socket.AF_UNIX))
    attempt("a pair of sockets", socketpair)
    attempt("another program", lambda: os.execv("/bin/true", ["true"]))
    attempt("a signal to the server", lambda: os.kill(os.getppid(), 0))
    attempt("a session of its own", os.setsid)
    thread()
    attempt("a long file", too_long)
    attempt("reading", lambda: open("/proc/self/status").read())
    os.write(1, json.dumps(told).encode())
    """
)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the filter is written for two machines")
def test_a_reader_has_no_network_starts_nothing_signals_nobody_and_writes_no_long_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TRIED, str(tmp_path / "a")], check=False, capture_output=True, text=True, timeout=30
    )
    refused = ("a TCP socket", "a unix socket", "a pair of sockets", "a socket of a thread", "another program")
    assert json.loads(done.stdout) == {
        "left": True,
        **dict.fromkeys(refused, "EPERM"),
        "a signal to the server": "EPERM",
        "a session of its own": "EPERM",
        "a long file": "EFBIG",
        "reading": "done",
    }, done.stderr
