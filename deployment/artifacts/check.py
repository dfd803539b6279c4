"""What `hhray artifacts check` finds out about a store of files, by using it."""

from __future__ import annotations

import uuid
from typing import Any

from deployment.artifacts.choice import open_artifacts
from deployment.artifacts.keys import clip_key
from hhray.errors import ArtifactsUnavailable
from hhray.settings import Settings

PROBE_TENANT = "hhray-check"


def check_artifacts(settings: Settings, secret: bytes) -> dict[str, Any]:
    """The findings: `fits`, `store`, `findings` (sentence and whether it is well), `lifecycle` (the rule to apply, for
    a bucket). A small file is put, read, not overwritten, and removed.

    Raises:
        ConfigError: the settings of the store do not fit.
    """
    store = settings.store
    findings: list[dict[str, Any]] = []
    try:
        _try_out(settings, secret, findings)
        if store.artifact_url:
            _look_at_lifecycle(settings, findings)
        else:
            findings.append({"ok": True, "message": "expired files are removed by the janitor"})
    except ArtifactsUnavailable as error:
        findings.append({"ok": False, "message": error.message})
    told: dict[str, Any] = {
        "store": store.artifact_url or str(settings.artifact_dir),
        "fits": all(one["ok"] for one in findings),
        "findings": findings,
    }
    if store.artifact_url:
        from deployment.artifacts.lifecycle import rule_to_apply  # noqa: PLC0415 - its client is for such stores

        told["lifecycle"] = rule_to_apply(store, settings.uploads)
    return told


def _try_out(settings: Settings, secret: bytes, findings: list[dict[str, Any]]) -> None:
    artifacts = open_artifacts(settings, secret)
    artifacts.check_room()
    task_id = str(uuid.uuid4())
    key = clip_key(task_id, 1, PROBE_TENANT)
    try:
        artifacts.put_bytes(key, b"a probe")
        whole = b"".join(artifacts.read(key, 0, 7)) == b"a probe"
        findings.append(
            {"ok": whole, "message": "a file was put, verified and read" if whole else "it reads back else"}
        )
        try:
            artifacts.put_bytes(key, b"another")
        except ArtifactsUnavailable:
            findings.append({"ok": True, "message": "it was not overwritten"})
        else:
            said = "a clip can be overwritten: the store does not heed If-None-Match"
            findings.append({"ok": not settings.store.s3.conditional, "message": said})
        artifacts.delete_task(task_id, PROBE_TENANT)
        gone = artifacts.facts(key) is None
        findings.append({"ok": gone, "message": "it was removed" if gone else "it is still there after its removal"})
    finally:
        artifacts.delete_task(task_id, PROBE_TENANT)


def _look_at_lifecycle(settings: Settings, findings: list[dict[str, Any]]) -> None:
    from deployment.artifacts.lifecycle import judge, read_rules  # noqa: PLC0415 - its client is for such stores

    if settings.store.s3.credentials == "environment":
        said = "the lifecycle rule is not read with the keys of a role; compare it with the one below"
        findings.append({"ok": True, "message": said})
        return
    verdict = judge(read_rules(settings.store), settings.store, settings.uploads)
    findings.append({"ok": verdict.fits, "message": verdict.message})
