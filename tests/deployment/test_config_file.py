"""deployment/local.yaml is a Serve config file: Serve's own schema accepts it, and its settings are ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from hhray.settings import load_settings

CONFIG = Path(__file__).parents[2] / "deployment" / "local.yaml"


def test_serves_schema_accepts_the_config_file() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    assert schema.applications[0].import_path == "deployment.app:build"


def test_a_file_without_import_path_is_refused_by_the_schema() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del config["applications"][0]["import_path"]
    with pytest.raises(ValueError, match="import_path"):
        ServeDeploySchema.model_validate(config)


def test_its_args_are_settings_and_agree_with_the_http_options() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    settings = load_settings(overrides=config["applications"][0]["args"])
    assert settings.http.host == config["http_options"]["host"] == "127.0.0.1"
    assert settings.http.port == config["http_options"]["port"]
