"""Kernels on disk: only what this server itself left behind, whole, is believed."""

from __future__ import annotations

import os
import stat

import pytest

from engine.kernel_cache import VARIABLE, KernelCache

FACTS = {"device": "a card", "torch": "2.13"}


@pytest.fixture(autouse=True)
def _variable_is_put_back(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture
def started(tmp_path):
    """Opens a cache as the next start would; the last one ends with it."""
    caches = []

    def start(facts=FACTS, *, beside=False):
        if caches and not beside:
            caches.pop().close()
        caches.append(KernelCache(tmp_path / "kernels", facts))
        caches[-1].open()
        assert os.environ[VARIABLE] == str(caches[-1].folder)
        return caches[-1]

    yield start
    for cache in caches:
        cache.close()


@pytest.fixture
def left(started):
    """The folder after a start that left a kernel behind."""
    cache = started()
    (cache.folder / "ab").mkdir()
    (cache.folder / "ab" / "kernel.so").write_bytes(b"code")
    cache.seal()
    return cache.folder


def test_the_next_start_finds_what_was_left_and_nothing_else(started, left):
    (left / "ab" / "stranger.so").write_bytes(b"not on the list")
    assert started().folder == left
    assert (left / "ab" / "kernel.so").read_bytes() == b"code"
    assert not (left / "ab" / "stranger.so").exists()


@pytest.mark.parametrize("damage", ["changed", "missing", "no list", "half a list"])
def test_a_damaged_folder_is_emptied(started, left, damage, caplog):
    (left / "more.so").write_bytes(b"more")
    first = started()
    (first.folder / "more.so").write_bytes(b"more")
    first.seal()
    kernel, contents = left / "ab" / "kernel.so", left / "contents.json"
    if damage == "changed":
        kernel.write_bytes(b"c0de")
    elif damage == "missing":
        kernel.unlink()
    elif damage == "no list":
        contents.unlink()
    else:
        contents.write_text(contents.read_text()[:20])
    assert started().folder == left
    assert not kernel.exists()
    assert not (left / "more.so").exists()
    assert ("damaged" in caplog.text) == (damage != "no list")


def test_a_discarded_folder_is_emptied_by_the_next_start(started, left):
    cache = started()
    cache.discard()
    cache.seal()
    started()
    assert not (left / "ab" / "kernel.so").exists()


def test_other_facts_and_other_processes_have_folders_of_their_own(started, left):
    beside = started(beside=True)
    assert beside.folder != left
    other = started({**FACTS, "torch": "2.14"}, beside=True)
    assert len({left, beside.folder, other.folder}) == 3


def test_folders_are_for_this_user_only(started):
    folder = started().folder
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700


@pytest.mark.parametrize("fault", ["open to others", "a link"])
def test_a_folder_that_others_could_have_filled_is_not_used(tmp_path, started, fault, caplog):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if fault == "a link":
        (tmp_path / "kernels").symlink_to(elsewhere)
    else:
        (tmp_path / "kernels").mkdir()
        (tmp_path / "kernels").chmod(0o770)
    cache = started()
    assert "mode 0700" in cache.problem
    assert "not kept" in caplog.text
    assert tmp_path not in cache.folder.parents
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    cache.seal()
    assert list(cache.folder.iterdir()) == []


def test_without_a_root_nothing_is_kept():
    cache = KernelCache(None, FACTS)
    cache.open()
    cache.seal()
    assert cache.problem == ""
    assert list(cache.folder.iterdir()) == []
