"""From a task to what the ranks are asked to make: its prompt as the model reads it, its media on a local disk."""

from __future__ import annotations

from contextlib import ExitStack

from deployment.artifacts import ArtifactStore
from engine.messages import ClipJob
from hhray.prompting import Rewriter, model_text
from hhray.request import AudioSetting, MediaType
from hhray.tasks import Task


def job_of(task: Task, artifacts: ArtifactStore, inputs: ExitStack, rewriter: Rewriter | None) -> ClipJob:
    """The job of a task; `inputs` keeps the local copies of its media. Blocks.

    Raises:
        NotFound: a file of its media is gone.
        ArtifactsUnavailable: the artifact store is away, or there is no room for a copy.
    """
    request, opened = task.request, inputs.enter_context
    paths = [(media.type, str(opened(artifacts.open_local(media.key)))) for media in request.media]
    return ClipJob(
        task_id=task.task_id,
        prompt=model_text(request, rewriter),
        seed=request.seed,
        resolution=request.resolution.value,
        ratio=request.ratio.value,
        duration=request.duration,
        mode=request.mode.value,
        images=tuple(path for kind, path in paths if kind is not MediaType.VIDEO),
        video_path=next((path for kind, path in paths if kind is MediaType.VIDEO), ""),
        keep_sound=request.audio_setting is AudioSetting.ORIGIN,
        seconds=request.output_seconds,
        deterministic=request.deterministic,
        marking=request.marking,
    )
