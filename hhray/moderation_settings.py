"""Settings of the moderation hook."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from hhray.settings_group import SettingsGroup


class OnHookError(StrEnum):
    """What a hook that fails or takes too long means: the check is owed, or it is done without."""

    REFUSE = "refuse"
    ALLOW = "allow"


class ModerationSettings(SettingsGroup):
    """A check that prompts, inputs and finished frames pass; without `check` there is none.

    With `on_error: refuse` a create that could not be checked is answered 503 with Retry-After, a task whose media
    could not be checked stays PENDING and is tried again, and a finished clip is checked again for `patience_seconds`,
    then its attempt counts as a fault (after store.max_faults of them the task ends FAILED): nothing unchecked is made
    or published. With `allow` the work goes on, and a warning is logged.
    """

    check: str = Field(default="", description="package.module:Class of the check; empty: none.")
    options: dict[str, str] = Field(default_factory=dict, description="Keyword arguments of that class.")
    on_error: OnHookError = Field(
        default=OnHookError.REFUSE, description="What a failed or late check means: refuse or allow."
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Longest check of one text, file or clip.")
    threads: int = Field(default=4, ge=1, description="Checks of one process at a time; more wait, within their time.")
    frames: int = Field(default=4, ge=0, description="Frames of a finished clip that are checked; 0: none.")
    patience_seconds: float = Field(
        default=60.0, ge=0, description="A finished clip is checked again for so long after a failed check."
    )
