"""Loads components of the transformers and diffusers libraries from local folders; nothing is ever downloaded.

Both libraries only warn when a file lacks weights, and go on with random ones: here that is an error.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hhray.errors import ConfigError


def library(name: str) -> Any:  # noqa: ANN401 - a module without types
    """The module `transformers` or `diffusers`, or one below them. Imported only where needed: either takes seconds.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"the library {name.partition('.')[0]} is needed for this codec: pip install 'hhray[codecs]'"
        ) from error


def hide_bars(name: str) -> None:
    """Keep the library `transformers` or `diffusers` from showing bars in this process.

    Raises:
        ConfigError: it is not installed.
    """
    library(f"{name}.utils.logging").disable_progress_bar()


def check_folder(folder: Path, what: str, patterns: Iterable[str]) -> None:
    """Raise a ConfigError that names what is expected unless every pattern has a file in `folder`."""
    missing = [pattern for pattern in patterns if not folder.is_dir() or not any(folder.glob(pattern))]
    if missing:
        raise ConfigError(
            f"{what}: {folder} must be a local folder with {', '.join(missing)}; "
            "hhray downloads nothing while it runs, so put the files there first"
        )


def load_component(model_class: Any, folder: Path, what: str, **options: Any) -> Any:  # noqa: ANN401 - no types
    """A library's model with all weights from `folder`, frozen.

    Args:
        model_class: a class with `from_pretrained`.
        folder: where its config.json and safetensors lie.
        what: names the component in errors.
        options: further arguments of `from_pretrained`.

    Raises:
        ConfigError: files are absent or damaged, or do not fit their configuration; lists the tensors at fault.
    """
    check_folder(folder, what, ("config.json", "*.safetensors"))
    try:
        with warnings.catch_warnings():
            # the published Oobleck classes of diffusers 0.42 use torch's older weight_norm
            warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
            model, report = model_class.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # the libraries raise errors of a dozen kinds on damaged files
        raise ConfigError(f"{what}: the files in {folder} cannot be loaded: {error}") from error
    problems = _problems(report)
    if problems:
        raise ConfigError(f"{what}: the weights in {folder} do not fit their configuration: {'; '.join(problems)}")
    return model.eval().requires_grad_(False)


def _problems(report: Mapping[str, Iterable[object]]) -> list[str]:
    names = {"missing_keys": "missing", "unexpected_keys": "unexpected", "mismatched_keys": "misshapen"}
    return [f"{fault} {key}" for kind, fault in names.items() for key in sorted(map(str, report[kind]))]
