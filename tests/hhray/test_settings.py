"""Settings: where a value comes from, and what is said about a bad one."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from hhray.errors import ConfigError
from hhray.parallel_layout import ParallelLayout
from hhray.settings import Settings, load_settings
from hhray.tasks import Priority
from hhray.tenancy import TenantSettings, tenant_settings


@pytest.fixture
def config(tmp_path):
    def write(text: str):
        path = tmp_path / "hhray.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_environment_beats_defaults_the_file_beats_it_and_code_beats_both(config, monkeypatch):
    assert load_settings().engine.ranks == 2
    monkeypatch.setenv("HHRAY_ENGINE__RANKS", "4")
    monkeypatch.setenv("HHRAY_ENGINE__REPLICAS", "3")
    assert load_settings().engine.ranks == 4
    file = config("engine: {ranks: 8}")
    assert (load_settings(file).engine.ranks, load_settings(file).engine.replicas) == (8, 3)
    assert load_settings(file, {"engine": {"ranks": 1}}).engine.ranks == 1


def test_the_model_is_the_embedded_one_unless_another_is_named(config):
    assert load_settings().engine.model_name == "embedded"
    assert load_settings(config("engine: {preset: tiny}")).engine.model_name == "tiny"
    assert load_settings(config("engine: {checkpoint: /models/large}")).engine.model_name == "large"


def test_code_and_file_are_merged_field_by_field(config):
    settings = load_settings(config("engine: {ranks: 8, preset: pico}"), {"engine": {"ranks": 1}})
    assert (settings.engine.ranks, settings.engine.preset) == (1, "pico")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("engin: {ranks: 2}", "engin: Extra inputs"),
        ("engine: {rank: 2}", r"engine\.rank: Extra inputs"),
        ("engine: {ranks: two}", r"engine\.ranks: Input should be a valid integer"),
        ("http: {port: 70000}", r"http\.port: Input should be less than or equal to 65535"),
        ("engine: {device: tpu}", r"engine\.device: String should match"),
        ("- a list", "expected a mapping of settings, found list"),
        ("engine: {", "cannot read settings"),
    ],
)
def test_a_bad_file_is_refused_with_field_and_file(config, text, expected):
    file = config(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_settings(file)
    assert str(file) in caught.value.message


def test_shapes_of_the_warm_up_are_read_and_survive_the_way_to_another_process(config, monkeypatch):
    shapes = 'engine: {warm_up: [{resolution: 1080P, ratio: "9:16", duration: 15}, {resolution: 256P}]}'
    settings = load_settings(config(shapes))
    found = [(one.resolution, one.ratio, one.duration) for one in settings.engine.warm_up]
    assert found == [("1080P", "9:16", 15), ("256P", "16:9", 5)]
    assert Settings(**settings.to_args()) == settings
    monkeypatch.setenv("HHRAY_ENGINE__WARM_UP", '[{"resolution": "720P"}]')
    assert load_settings().engine.warm_up[0].geometry.resolution == "720P"
    with pytest.raises(ConfigError, match=r"warm_up\.0\.ratio"):
        load_settings(config("engine: {warm_up: [{resolution: 256P, ratio: 16:9}]}"))  # YAML reads 969


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, False),
        ({"device": "cuda"}, True),
        ({"compiled": "on"}, True),
        ({"device": "cuda", "compiled": "off"}, False),
    ],
)
def test_layers_are_compiled_on_gpus_unless_told_otherwise(engine, expected):
    assert load_settings(overrides={"engine": engine}).engine.compiles is expected


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_a_misspelt_nested_variable_is_refused(monkeypatch):
    monkeypatch.setenv("HHRAY_ENGINE__RANK", "2")
    with pytest.raises(ConfigError, match=r"engine\.rank"):
        load_settings()


def test_an_empty_file_means_the_defaults(config):
    assert load_settings(config("")) == Settings()


def test_a_layout_is_set_by_its_degrees_and_left_to_the_engine_without(config):
    assert load_settings().engine.parallel_layout is None
    fixed = load_settings(config("engine: {ranks: 4, layout: {ulysses: 2, gather: 2, halo: false}}")).engine
    assert fixed.parallel_layout == ParallelLayout(2, 2, halo=False)
    with pytest.raises(ConfigError, match=r"layout\.ulysses 2 x layout\.gather 1 is not ranks 4; choose degrees"):
        load_settings(config("engine: {ranks: 4, layout: {ulysses: 2}}"))


def test_attention_is_plain_unless_8_bits_are_allowed(config):
    assert load_settings().engine.attention_precision == "plain"
    assert load_settings(config("engine: {attention_precision: int8}")).engine.attention_precision == "int8"
    with pytest.raises(ConfigError, match=r"attention_precision.*'plain' or 'int8'"):
        load_settings(config("engine: {attention_precision: fp8}"))


def test_video_only_ranks_take_one_clip_at_a_time(config):
    assert load_settings(config("engine: {video_only_ranks: true, max_batch: 1}")).engine.video_only_ranks
    with pytest.raises(ConfigError, match="max_batch is 4; set it to 1"):
        load_settings(config("engine: {video_only_ranks: true}"))


def test_every_field_is_documented():
    def undocumented(model: type[BaseModel], path: str = "") -> list[str]:
        missing = []
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                missing += undocumented(info.annotation, f"{path}{name}.")
                missing += [] if info.annotation.__doc__ else [path + name]
            elif not info.description:
                missing.append(path + name)
        return missing

    assert undocumented(Settings) == []


def test_paths_lie_under_the_data_directory_unless_named(tmp_path):
    settings = load_settings(overrides={"data_dir": str(tmp_path)})
    assert settings.sqlite_file == tmp_path / "tasks.sqlite3"
    assert settings.artifact_dir == tmp_path / "artifacts"
    assert settings.keys_file == tmp_path / "keys.json"
    named = load_settings(overrides={"data_dir": str(tmp_path), "store": {"sqlite_path": "/elsewhere/t.db"}})
    assert str(named.sqlite_file) == "/elsewhere/t.db"


def test_settings_come_back_from_plain_values_with_their_secret_but_without_the_clients_key(tmp_path):
    settings = load_settings(
        overrides={
            "data_dir": str(tmp_path),
            "keys": {"secret": "s3"},
            "client": {"api_key": "hh-1"},
            "hub": {"huggingface_token": "hf-9"},
        }
    )
    args = settings.to_args()
    assert Settings(**args).keys.secret.get_secret_value() == "s3"
    others = {"client", "hub"}
    assert Settings(**args).model_dump(exclude=others) == settings.model_dump(exclude=others)
    assert "hh-1" not in str(args)
    assert "hf-9" not in str(args)


def test_secrets_do_not_show(tmp_path):
    settings = load_settings(
        overrides={"keys": {"secret": "s3cret"}, "client": {"api_key": "hh-1"}, "hub": {"huggingface_token": "hf-9"}}
    )
    assert "hf-9" not in repr(settings) + settings.model_dump_json()
    assert "s3cret" not in repr(settings)
    assert "hh-1" not in repr(settings)
    assert "hh-1" not in settings.model_dump_json()


def test_tenants_are_granted_weight_priority_and_a_share_of_the_gpus():
    settings = load_settings(overrides={"tenants": {"acme": {"weight": 3, "priority": "high", "reserved": 0.25}}})
    granted = tenant_settings(settings.tenants, "acme")
    assert (granted.weight, granted.priority, granted.reserved) == (3.0, Priority.HIGH, 0.25)
    assert tenant_settings(settings.tenants, "somebody") == TenantSettings()
    assert Settings(**settings.to_args()).tenants == settings.tenants


def test_more_than_all_gpus_cannot_be_reserved():
    with pytest.raises(ConfigError, match=r"reserved shares of a, b sum to 1\.2"):
        load_settings(overrides={"tenants": {"a": {"reserved": 0.6}, "b": {"reserved": 0.6}}})


def test_tenants_nobody_names_have_the_default_and_it_owns_no_gpus():
    settings = load_settings(
        overrides={"default_tenant": {"max_running": 2, "weight": 0.5}, "tenants": {"acme": {"max_running": 7}}}
    )
    assert (settings.granted("acme").max_running, settings.granted("somebody").max_running) == (7, 2)
    assert Settings(**settings.to_args()).granted("somebody").weight == 0.5
    with pytest.raises(ConfigError, match="a reserved share belongs to one tenant"):
        load_settings(overrides={"default_tenant": {"reserved": 0.1}})
