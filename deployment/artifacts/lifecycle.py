"""The bucket's lifecycle rule: the store's own broom behind the janitor's, for files that no server ever sees again.

The rule must never be quicker than the janitor: it counts whole days from midnight UTC, so it gets one more than what
is kept longest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import httpx

from deployment.artifacts.s3_client import address_of, bucket_and_prefix
from deployment.artifacts.signature4 import signed_headers
from hhray.errors import ArtifactsUnavailable
from hhray.store_settings import StoreSettings
from hhray.upload_settings import UploadSettings

DAY_SECONDS = 86400.0
ABANDONED_DAYS = 1  # parts of an upload that never ended
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a bucket: objects below `prefix` go after `days`; None: it removes nothing by age."""

    prefix: str
    days: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the rules fit what is kept, and a sentence that says why."""

    fits: bool
    message: str


def rule_days(store: StoreSettings, uploads: UploadSettings) -> int:
    """Days after which the store may remove what the janitor left."""
    return math.ceil(max(store.task_ttl_seconds, uploads.ttl_seconds) / DAY_SECONDS) + 1


def rule_to_apply(store: StoreSettings, uploads: UploadSettings) -> dict[str, Any]:
    """The lifecycle configuration that fits, as `aws s3api put-bucket-lifecycle-configuration` takes it."""
    _, prefix = bucket_and_prefix(store.artifact_url)
    rule = {
        "ID": "hhray",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/" if prefix else ""},
        "Expiration": {"Days": rule_days(store, uploads)},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABANDONED_DAYS},
    }
    return {"Rules": [rule]}


def read_rules(store: StoreSettings) -> list[Rule]:
    """The enabled rules of the bucket.

    Raises:
        ArtifactsUnavailable: the store does not tell.
    """
    bucket, _ = bucket_and_prefix(store.artifact_url)
    address = address_of(store.artifact_url, store.s3)
    host, path = address.partition("://")[2], f"/{bucket}" if store.s3.path_style else "/"
    headers = signed_headers(store.s3, host, path, {"lifecycle": ""}, datetime.now(UTC))
    try:
        answer = httpx.get(f"{address}{path}?lifecycle=", headers=headers, timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise ArtifactsUnavailable(f"cannot read the bucket's lifecycle: {type(error).__name__}") from None
    if answer.status_code == 404 and "NoSuchLifecycleConfiguration" in answer.text:
        return []
    if answer.status_code != 200:
        raise ArtifactsUnavailable(
            f"cannot read the bucket's lifecycle: the store answers {answer.status_code}; expected keys that may "
            "GetLifecycleConfiguration"
        )
    return _parse(answer.content)


def judge(rules: list[Rule], store: StoreSettings, uploads: UploadSettings) -> Verdict:
    """Whether these rules remove what is left over, and nothing that is still wanted."""
    wanted, needed = rule_to_apply(store, uploads)["Rules"][0]["Filter"]["Prefix"], rule_days(store, uploads)
    early = [rule for rule in rules if rule.days is not None and rule.days < needed and _meet(rule.prefix, wanted)]
    if early:
        days = min(rule.days or 0 for rule in early)
        return Verdict(False, f"a rule removes files after {days} days, before their tasks end; it takes {needed}")
    covering = [rule.days for rule in rules if rule.days is not None and wanted.startswith(rule.prefix)]
    if not covering:
        return Verdict(False, "no rule removes files that the janitor left; they would be kept for ever")
    return Verdict(True, f"files that the janitor left go after {min(covering)} days; at least {needed} are needed")


def _meet(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _parse(document: bytes) -> list[Rule]:
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - of the operator's own store
    except ElementTree.ParseError as error:
        raise ArtifactsUnavailable("cannot read the bucket's lifecycle: the answer is no XML") from error
    rules = []
    for rule in root.findall("{*}Rule"):
        if rule.findtext("{*}Status") == "Enabled":
            prefix = rule.findtext("{*}Filter/{*}Prefix") or rule.findtext("{*}Filter/{*}And/{*}Prefix")
            days = rule.findtext("{*}Expiration/{*}Days")
            rules.append(Rule(prefix or rule.findtext("{*}Prefix") or "", int(days) if days else None))
    return rules
