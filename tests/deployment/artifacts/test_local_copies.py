"""Local copies of far files: one for all processes of a machine, whole or not there, gone with their last user."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deployment.artifacts.local_copies import LocalCopies
from hhray.errors import ArtifactsUnavailable

# A process that opens the copy, says what it read, and leaves when its standard input ends.
READER = """
import sys, time
from pathlib import Path
from deployment.artifacts.local_copies import LocalCopies

def download(writer):
    with open(sys.argv[2], "a") as file:
        file.write("x")
    writer.write(b"half")
    writer.flush()
    time.sleep(float(sys.argv[3]))
    writer.write(b" and half")

with LocalCopies(Path(sys.argv[1]), 0).open(sys.argv[4], download) as path:
    print(path.read_text(), flush=True)
    sys.stdin.read()
"""


def copies_in(folder):
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def counted_download(log):
    """Leaves a mark in a file each time."""

    def download(writer):
        with log.open("a") as file:
            file.write("x")
        writer.write(b"half and half")

    return download


def reader(folder, log, key="key", seconds=0.3):
    order = [sys.executable, "-c", READER, str(folder), str(log), str(seconds), key]
    return subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_share_one_download_and_see_only_the_whole(tmp_path):
    folder, log = tmp_path / "copies", tmp_path / "log"
    readers = [reader(folder, log) for _ in range(3)]
    try:
        assert [one.stdout.readline() for one in readers] == ["half and half\n"] * 3
        assert log.read_text() == "x"
        assert len(copies_in(folder)) == 1
    finally:
        for one in readers:
            one.communicate()
    assert copies_in(folder) == []


def test_a_copy_stays_as_long_as_somebody_uses_it(tmp_path):
    copies, log = LocalCopies(tmp_path / "copies", 0), tmp_path / "log"
    with copies.open("key", counted_download(log)) as outer:
        with copies.open("key", counted_download(log)) as inner:
            assert inner == outer
        assert copies.sweep() == 0
        assert outer.read_bytes() == b"half and half"
    assert not outer.exists()
    with copies.open("key", counted_download(log)):
        pass
    assert log.read_text() == "xx"


def test_a_download_that_breaks_leaves_nothing_and_the_next_one_begins_anew(tmp_path):
    copies = LocalCopies(tmp_path / "copies", 0)

    def broken(writer):
        writer.write(b"half")
        raise ArtifactsUnavailable("the store is gone")

    with pytest.raises(ArtifactsUnavailable, match="is gone"), copies.open("key", broken):
        pass
    assert copies_in(tmp_path / "copies") == []
    with copies.open("key", lambda writer: writer.write(b"whole")) as path:
        assert path.read_bytes() == b"whole"


def test_what_dead_processes_left_is_swept_and_holds_nobody_up(tmp_path):
    folder, log = tmp_path / "copies", tmp_path / "log"
    using, loading = reader(folder, log, "used", 0), reader(folder, log, "half", 600)
    using.stdout.readline()
    while len(copies_in(folder)) < 2:
        assert loading.poll() is None
    copies = LocalCopies(folder, 0)
    assert copies.sweep() == 0, "both live"
    for dead in (using, loading):
        dead.kill()
        dead.communicate()
    with copies.open("key", counted_download(log)):
        assert copies.sweep() == 2
        assert len(copies_in(folder)) == 1
