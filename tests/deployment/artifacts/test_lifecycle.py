"""`hhray artifacts check`, and the rule by which a bucket removes what the janitor left."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from deployment.artifacts.lifecycle import Rule, judge, read_rules, rule_to_apply
from deployment.artifacts.signature4 import signed_headers
from hhray.cli import main
from hhray.s3_settings import S3Settings
from hhray.store_settings import StoreSettings
from hhray.upload_settings import UploadSettings

STORE = StoreSettings(artifact_url="s3://clips/prod")  # tasks for a day, uploads for two


@pytest.mark.parametrize(
    ("rules", "fits", "said"),
    [
        ([], False, "kept for ever"),
        ([Rule("", 3)], True, "after 3 days"),
        ([Rule("prod/", 30)], True, "after 30 days"),
        ([Rule("other/", 3)], False, "kept for ever"),
        ([Rule("prod/", None)], False, "kept for ever"),
        ([Rule("", 30), Rule("prod/clips/", 1)], False, "after 1 days, before their tasks end; it takes 3"),
    ],
)
def test_a_rule_fits_that_removes_what_is_left_over_and_nothing_that_is_wanted(rules, fits, said):
    verdict = judge(rules, STORE, UploadSettings())
    assert verdict.fits is fits
    assert said in verdict.message


def test_the_signature_is_the_one_of_the_public_client(monkeypatch):
    at = datetime(2026, 11, 22, 5, 6, 7, tzinfo=UTC)
    settings = S3Settings(access_key_id="AKIAX", secret_access_key="s/e+c", session_token="t==", region="eu-west-1")
    ours = signed_headers(settings, "minio:9000", "/clips", {"lifecycle": ""}, at)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: at.replace(tzinfo=None))
    request = AWSRequest("GET", "http://minio:9000/clips", params={"lifecycle": ""})
    S3SigV4Auth(Credentials("AKIAX", "s/e+c", "t=="), "s3", "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]


def test_the_check_uses_the_store_and_prints_the_rule_that_it_then_accepts(s3_server, tmp_path, capsys):
    settings = s3_server.settings(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"data_dir": str(tmp_path), "store": settings.to_args()["store"]}))
    assert main(["artifacts", "check", "--config", str(config), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["ok"] for one in told["findings"]] == [True, True, True, False]
    bucket = settings.store.artifact_url.split("/")[2]
    (rule,) = told["lifecycle"]["Rules"]
    assert rule == rule_to_apply(settings.store, settings.uploads)["Rules"][0]
    document = (
        "<LifecycleConfiguration><Rule><ID>hhray</ID><Status>Enabled</Status>"
        f"<Filter><Prefix>{rule['Filter']['Prefix']}</Prefix></Filter>"
        f"<Expiration><Days>{rule['Expiration']['Days']}</Days></Expiration></Rule></LifecycleConfiguration>"
    )
    httpx.put(f"{s3_server.url}/{bucket}?lifecycle", content=document, trust_env=False).raise_for_status()
    assert read_rules(settings.store) == [Rule(rule["Filter"]["Prefix"], rule["Expiration"]["Days"])]
    assert main(["artifacts", "check", "--config", str(config)]) == 0
    assert "BAD" not in capsys.readouterr().out


def test_the_check_of_a_directory(tmp_path, capsys):
    assert main(["artifacts", "check", "--data-dir", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["store"] == str(tmp_path / "artifacts")
    assert [one["message"] for one in told["findings"]][1] == "it was not overwritten"
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
