"""xformers, imported when it is first needed: it brings torch's compiler along, seconds of import."""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from types import ModuleType

logger = logging.getLogger(__name__)


@functools.cache
def xformers_module(name: str) -> ModuleType:
    """The module `name` of xformers.

    Its compiled extension is of one version of torch and CUDA. Beside another one xformers says so at length and goes
    on; that is one quiet line here.

    Raises:
        ImportError: xformers is not installed or does not fit this torch at all.
    """
    theirs = logging.getLogger("xformers")
    level = theirs.level
    theirs.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
            problem = importlib.import_module("xformers._cpp_lib")._cpp_library_load_exception
    finally:
        theirs.setLevel(level)
    if problem is not None:
        logger.info("xformers runs without its compiled extension: %s", str(problem).partition("\n")[0])
    return module
