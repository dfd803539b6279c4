"""The exception tree is the one drawn in its module's docstring."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys

import pytest

from hhray import errors
from hhray.errors import HhrayError


def drawn_tree() -> dict[str, str]:
    """Class name -> name of its base, as drawn."""
    tree: dict[str, str] = {}
    parents: list[str] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        if not name.isidentifier() or not isinstance(getattr(errors, name, None), type):
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        parents[depth:] = [name]
        tree[name] = parents[depth - 1] if depth else "Exception"
    return tree


def classes() -> dict[str, type[HhrayError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in found if cls.__module__ == errors.__name__}


def test_the_picture_and_the_classes_are_the_same():
    assert drawn_tree() == {name: cls.__base__.__name__ for name, cls in classes().items()}


@pytest.mark.parametrize("name", classes())
def test_every_class_says_when_and_has_a_code_and_a_status(name):
    cls = classes()[name]
    assert cls.__doc__
    assert cls.code
    assert 400 <= cls.status < 600


INSTANCES = [
    errors.InvalidParameter("duration: expected 3 to 15"),
    errors.EmptyField("Input", "say something"),
    errors.MediaError("TooLarge", "20 MB at most"),
    errors.Throttled("later", 2.5),
    errors.RequestRefused("InvalidApiKey", "no", 401, 3.0),
    errors.TaskFailed("t-1", "FAILED", "InternalError", "a rank died"),
]


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_errors_cross_process_borders_whole(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.message, back.code, vars(back)) == (type(error), error.message, error.code, vars(error))


def test_wire_codes_are_the_dialects():
    assert errors.EmptyField("Model", "m").code == "BadRequest.EmptyModel"
    assert errors.MediaError("InputDownloadFailed", "m").code == "BadRequest.InputDownloadFailed"
    assert errors.MediaError("UnsupportedFileFormat", "m").code == "BadRequest.UnsupportedFileFormat"
    statuses = {name: cls.status for name, cls in classes().items()}
    assert statuses["InvalidApiKey"] == 401
    assert statuses["AccessDenied"] == 403
    assert statuses["Throttled"] == 429
    assert statuses["StoreUnavailable"] == 503


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    script = "import sys; from hhray.cli import main; sys.exit(main(['keys', 'list', '--json']))"
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "HHRAY_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=env, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
