"""A paused batch on local disk: what its steps have changed, for ranks that go on with it, also those of another gang.

A file has the two vectors of a `ClipState` as safetensors. It is readable by its owner only, and has its name once it
is complete.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from engine.clip_state import ClipState, StateForm
from hhray.errors import EngineFault


def write_state(path: Path, state: ClipState) -> None:
    """Write a state, over the one of an earlier pause; a reader sees all of either.

    Raises:
        OSError: no room, or no right to write there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    data = save({"head": state.head(), "body": state.body().cpu()})
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def read_state(path: Path, form: StateForm) -> ClipState:
    """The state that was written there, on the CPU.

    Raises:
        EngineFault: there is none, it is damaged, or it is of another batch.
    """
    try:
        tensors = load_file(path)
        head, body = tensors["head"], tensors["body"]
        if head.numel() != form.head_length or body.numel() != form.body_length(head):
            raise EngineFault(f"the paused batch in {path} has other sizes than this one; its clips must begin anew")
    except (OSError, SafetensorError, LookupError, ValueError, RuntimeError) as error:
        raise EngineFault(f"the paused batch in {path} cannot be read ({error}); its clips must begin anew") from error
    return form.state(head, body)
