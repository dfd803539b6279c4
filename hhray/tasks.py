"""The task state machine and the records that pass between ingress, router, engine and store.

    PENDING --claim--> RUNNING --publish--> SUCCEEDED
       |                  |---fail--------> FAILED
       |                  |---stop--------> CANCELED   (administrator only)
       |                  '---release, lease lost--> PENDING again (attempt counted on the next claim)
       |--cancel--> CANCELED
       '--media cannot be used--> FAILED

A PENDING task is claimable once `ready`: its media, if any, has been fetched. The fence of a claim is its attempt
number: every write of an owner names it, so an owner whose lease was taken over can write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hhray.quotas import NO_QUOTA, Quota
from hhray.request import ClipRequest


class TaskState(StrEnum):
    """Wire names. UNKNOWN is never stored: it is the answer for a task that is gone or another tenant's."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELED})


class Priority(StrEnum):
    """How urgent a tenant's task is; the scheduler turns it into a weight."""

    HIGH = "high"
    STANDARD = "standard"
    LOW = "low"


class Stage(StrEnum):
    """Where a clip's seconds go. QUEUE_WAIT runs from submit to the claim of the attempt that ended the task;
    the others follow one another without a gap and sum to the service time."""

    QUEUE_WAIT = "queue_wait"
    TEXT = "text"
    DENOISE = "denoise"
    DECODE = "decode"
    MUX = "mux"
    PUBLISH = "publish"


SERVICE_STAGES = tuple(stage for stage in Stage if stage is not Stage.QUEUE_WAIT)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A validated request on its way into the store. Times are seconds since the epoch, by the store's clock.

    `deadline_seconds` is how long after submit the clip should be there (0: the scheduler's default, a multiple of
    `gpu_seconds`). A `reserved` task runs on the share of the GPUs that its tenant owns. `fingerprint` tells creates of
    one idempotency key apart; `webhook` is the URL that is told of the end, empty: nobody is. `repost_key` names
    creates without an idempotency key that are alike: one whose client was seen to go away is not made twice.
    The task is refused when its tenant's `quota` has no room for it. `prompt_hash` goes into the audit log; without
    `keep_prompt` the prompt is blanked once the task has ended.
    """

    tenant: str
    request: ClipRequest
    request_id: str
    gpu_seconds: float
    ready: bool
    task_id: str
    ttl_seconds: float
    idempotency_key: str | None = None
    api_key_id: str = ""
    deadline_seconds: float = 0.0
    priority: Priority = Priority.STANDARD
    reserved: bool = False
    fingerprint: str = ""
    webhook: str = ""
    repost_key: str | None = None
    quota: Quota = NO_QUOTA
    prompt_hash: str = ""
    keep_prompt: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the task store, joined with its lease (progress, stage) while it runs.

    `attempt` counts claims and is the fence; `faults` counts the claims that ended in a fault of ours.
    `progress` is 0..1 over the denoising steps; `stages` maps stage name to seconds once the task ended.
    `deadline` is seconds since the epoch (0: the scheduler's default). `facts` says of a result by which weights, in
    which layout it was made and how it is marked.
    """

    task_id: str
    tenant: str
    state: TaskState
    request: ClipRequest
    request_id: str
    gpu_seconds: float
    ready: bool
    submitted_at: float
    expires_at: float
    scheduled_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    faults: int = 0
    error_code: str = ""
    error_message: str = ""
    artifact_key: str = ""
    artifact_sha256: str = ""
    artifact_bytes: int = 0
    notice: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    progress: float = 0.0
    stage: str = ""
    cancel_requested: bool = False
    api_key_id: str = ""
    deadline: float = 0.0
    priority: Priority = Priority.STANDARD
    reserved: bool = False
    fingerprint: str = ""
    webhook: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    keep_prompt: bool = True


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """What the router's index knows of a claimable task. `sequence` grows each time a task becomes claimable.

    `gpu_seconds` is its time alone on one idle GPU. `deadline` is seconds since the epoch (0: the scheduler's default).
    """

    task_id: str
    bucket: str
    submitted_at: float
    gpu_seconds: float
    tenant: str
    sequence: int
    deadline: float = 0.0
    priority: Priority = Priority.STANDARD
    reserved: bool = False
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """What an owner reports of a running task when it renews the lease."""

    fraction: float
    stage: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published file: `key` in the artifact store, its bytes and checksum as verified after upload."""

    key: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine's heartbeat, for /healthz and for the drain."""

    engine_id: str
    world_size: int
    preset: str
    state: str
    updated_at: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Claimable, waiting for media, and running tasks, with the estimated GPU-seconds of the first two and the last."""

    queued: int
    queued_gpu_seconds: float
    running: int
    running_gpu_seconds: float


@dataclass(frozen=True, slots=True)
class Demand:
    """The work there is, for the number of engines. Seconds are GPU-seconds of one rank by the cost model.

    `queued` tasks wait, their media ready or not; `remaining_gpu_seconds` is what the progress of the `running` ones
    leaves; `arrived_gpu_seconds` is the work of all that was submitted within the window asked for, whatever became of
    it, but for what never came to run: cancelled while it waited, or refused for its media.
    """

    queued: int
    queued_gpu_seconds: float
    running: int
    remaining_gpu_seconds: float
    arrived_gpu_seconds: float
