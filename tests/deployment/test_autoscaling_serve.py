"""The policy as Serve calls it, its signals out of the store, and the deployments that are asked for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve._private.autoscaling_state import ApplicationAutoscalingState
from ray.serve._private.common import DeploymentID, ReplicaID, ReplicaMetricReport, TimeStampedValue
from ray.serve._private.config import DeploymentConfig
from ray.serve.config import AutoscalingPolicy
from ray.serve.schema import ServeDeploySchema

from deployment import router as router_module
from deployment.app import engine_options
from deployment.engine_scaling import POLICY, latest_signals, number_of_engines, number_of_routers
from deployment.rollout import application_config
from deployment.router import Router
from deployment.stopping import grace_seconds, longest_clip_seconds
from deployment.store.sqlite import SqliteStore
from deployment.work_meter import WorkMeter, desired_engines
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import Settings, load_settings
from hhray.tasks import Artifact, EngineRecord, Progress, Task, TaskState

SERVED = ServedModel(preset("pico"))
ENGINES, ROUTER = DeploymentID("ClipEngine", "hhray"), DeploymentID("Router", "hhray")


def settings_with(home: Path | None = None, **autoscaling: Any) -> Settings:
    values: dict[str, Any] = {"engine": {"preset": "pico", "ranks": 1}, "autoscaling": autoscaling}
    return load_settings(overrides=values | ({"data_dir": str(home)} if home else {}))


class ServesSide:
    """Serve's own bookkeeping of one application, as its controller keeps it, without a cluster."""

    def __init__(self, settings: Settings, policy: str = POLICY) -> None:
        self.state = ApplicationAutoscalingState("hhray")
        if policy:
            self.state.register(AutoscalingPolicy(policy_function=policy))
        self.targets = {ENGINES: settings.engine_bounds[0], ROUTER: 1}
        for deployment, options in ((ENGINES, number_of_engines(settings)), (ROUTER, number_of_routers(settings))):
            config = DeploymentConfig.from_default(**options)
            arrived = DeploymentConfig.from_proto_bytes(config.to_proto_bytes())  # as it reaches the controller
            self.state.register_deployment(deployment, _Info(arrived), self.targets[deployment])
        self.router = ReplicaID("one", ROUTER)
        self.state.update_running_replica_ids(ROUTER, [self.router])

    def report(self, stats: dict[str, float]) -> None:
        now = time.time()
        metrics = {name: [TimeStampedValue(now, value)] for name, value in stats.items()}
        self.state.record_request_metrics_for_replica(ReplicaMetricReport(self.router, metrics, now))

    def tick(self) -> int:
        self.targets |= self.state.get_decision_num_replicas(self.targets)
        return self.targets[ENGINES]


class _Info:
    """What Serve's bookkeeping reads of a DeploymentInfo."""

    target_capacity = None
    target_capacity_direction = None

    def __init__(self, config: DeploymentConfig) -> None:
        self.deployment_config = config


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")  # Serve's second reading of it
def test_serves_own_bookkeeping_calls_the_policy_with_what_the_router_says() -> None:
    windows = {"up_window_seconds": 0.0, "down_window_seconds": 0.0, "cold_start_seconds": 0.0, "idle_grace_seconds": 0}
    serve = ServesSide(
        settings_with(min_engines=0, max_engines=5, efficiency=1.0, drain_target_seconds=60.0, **windows)
    )
    assert serve.tick() == 0, "nothing known: hold"
    stats = {"queued": 3.0, "queued_gpu_seconds": 170.0, "running": 0.0, "remaining_gpu_seconds": 0.0}
    stats |= {"arrival_rate": 0.0, "cold_start_seconds": 0.0, "quarantined": 0.0, "read_at": 1.0}
    serve.report(stats)
    assert serve.tick() == 3
    serve.report(stats | {"queued_gpu_seconds": 1e6, "read_at": 2.0})
    assert serve.tick() == 5
    serve.report(stats | {"queued": 0.0, "queued_gpu_seconds": 0.0, "read_at": 3.0})
    assert serve.tick() == 1, "Serve goes to zero by way of one"
    assert serve.tick() == 0


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
@pytest.mark.parametrize(("least", "engines"), [(0, 1), (2, 2)])
def test_without_the_line_in_the_config_file_requests_are_not_counted_instead(least: int, engines: int) -> None:
    serve = ServesSide(settings_with(min_engines=least, max_engines=5), policy="")
    assert [serve.tick() for _ in range(3)] == [engines] * 3


@pytest.mark.parametrize("file", ["deployment/local.yaml", "k8s/base/rayservice.yaml"])
def test_the_config_files_name_the_policy(file: str) -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / file).read_text(encoding="utf-8"))
    if "spec" in config:
        config = yaml.safe_load(config["spec"]["serveConfigV2"])
    schema = ServeDeploySchema.model_validate(config)
    assert schema.applications[0].autoscaling_policy == {"policy_function": POLICY}


def test_a_reading_that_lacks_a_part_is_no_reading() -> None:
    points = [TimeStampedValue(1.0, 5.0), TimeStampedValue(2.0, 7.0)]
    names = ("queued", "queued_gpu_seconds", "running", "remaining_gpu_seconds", "arrival_rate", "cold_start_seconds")
    names = (*names, "quarantined")
    metrics: dict[str, dict[Any, Any]] = {name: {"replica": points} for name in names}
    assert latest_signals(metrics) is None
    newer = {"old": points, "new": [TimeStampedValue(3.0, 9.0)]}
    found = latest_signals(metrics | {"read_at": newer})
    assert found is not None
    assert (found.queued, found.read_at) == (7.0, 9.0)
    assert latest_signals(None) is None


def test_equal_bounds_are_a_fixed_number_and_serve_is_asked_for_no_autoscaling() -> None:
    assert number_of_engines(settings_with()) == {"num_replicas": 1}
    assert number_of_engines(settings_with(min_engines=3, max_engines=3)) == {"num_replicas": 3}
    assert number_of_routers(settings_with()) == {}
    config = number_of_engines(settings_with(max_engines=4))["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    assert engine_options(settings_with(max_engines=4))["max_ongoing_requests"] == 4
    with pytest.raises(ConfigError, match="min_engines 2 is more"):
        settings_with(min_engines=2)


def test_fake_or_shared_gpus_can_be_reserved_on_any_device() -> None:
    assert "GPU" not in engine_options(settings_with())["placement_group_bundles"][1]
    shared = load_settings(overrides={"engine": {"preset": "pico", "gpus_per_rank": 0.5}})
    assert engine_options(shared)["placement_group_bundles"][1]["GPU"] == 0.5
    real = load_settings(overrides={"engine": {"preset": "pico", "device": "cuda"}})
    assert engine_options(real)["placement_group_bundles"][1]["GPU"] == 1


def test_the_config_tells_serve_no_secret() -> None:
    settings = load_settings(overrides={"keys": {"secret": "hush"}, "autoscaling": {"max_engines": 2}})
    config = application_config(settings, "hhray")
    assert "hush" not in config.model_dump_json()
    assert load_settings(overrides=config.args).autoscaling == settings.autoscaling


def test_an_engine_that_stops_gets_longer_than_the_longest_clip_on_offer(caplog: pytest.LogCaptureFixture) -> None:
    brief = load_settings(overrides={"engine": {"preset": "pico", "tiers": ["256P"]}, "graceful_shutdown_seconds": 900})
    assert longest_clip_seconds(brief, SERVED) < longest_clip_seconds(settings_with(), SERVED)
    with caplog.at_level(logging.WARNING, "ray.serve"):
        assert grace_seconds(brief, SERVED) == 900
        assert not caplog.records
        short = load_settings(overrides={"engine": {"preset": "pico"}, "graceful_shutdown_seconds": 1})
        assert grace_seconds(short, SERVED) == 2 * longest_clip_seconds(short, SERVED)
    cost = short.cost_model(SERVED)
    (shape,) = load_settings(
        overrides={"engine": {"warm_up": [{"resolution": "1080P", "duration": 15}]}}
    ).engine.warm_up
    assert shape.resolution is Resolution.P1080
    assert grace_seconds(short, SERVED) > cost.gpu_seconds(shape.geometry)


# --- the signals


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(router_module.ray, "nodes", lambda: [{"Alive": True}])
    return load_settings(
        overrides={
            "data_dir": str(tmp_path),
            "router": {"poll_seconds": 0.05, "reconcile_seconds": 0.05, "heartbeat_seconds": 0.2},
            "autoscaling": {"min_engines": 0, "max_engines": 3, "interval_seconds": 0.05},
        }
    )


class NoEngines:
    """The handle of a deployment without a replica: notes the tickets that wait for one."""

    def __init__(self) -> None:
        self.tickets: list[str] = []
        self.run_next = self

    async def remote(self, ticket: str) -> str:
        self.tickets.append(ticket)
        await asyncio.sleep(3600)
        return "lost"


async def _stopped(router: Router) -> None:
    for task in (*router._loops, *router._tickets):
        task.cancel()
    await asyncio.gather(*router._loops, *router._tickets, return_exceptions=True)
    router._store.close()


def test_a_new_router_knows_at_once_what_waits_runs_and_arrives(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    done, half, waits, dropped = (add_task() for _ in range(4))
    for task in (done, half):
        task_store.claim([task.task_id], "engine", 60.0)
    task_store.renew("engine", 60.0, {half.task_id: Progress(0.25, "denoise")})
    task_store.publish(done.task_id, "engine", 1, Artifact("key", "sha", 1), {}, "")
    task_store.cancel_pending(dropped.task_id, None)
    task_store.heartbeat(EngineRecord("gone", 1, "pico", "ready", detail={"start_seconds": 41.5}))

    async def scenario() -> dict[str, float]:
        router = Router.__new__(Router)
        await router.__init__(settings, SERVED, NoEngines())  # type: ignore[misc]  # Serve awaits it
        await asyncio.sleep(0.3)
        stats = router.record_autoscaling_stats()
        await _stopped(router)
        return stats

    stats = asyncio.run(scenario())
    assert stats.pop("read_at") == pytest.approx(time.time(), abs=60)
    assert stats == {
        "queued": 1,
        "queued_gpu_seconds": 1.0,
        "running": 1,
        "remaining_gpu_seconds": 0.75,
        "arrival_rate": 3.0 / 300,
        "cold_start_seconds": 41.5,
        "quarantined": 0,
    }
    assert waits.state is TaskState.PENDING


def test_no_ticket_waits_for_engines_that_are_not_there(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    """Serve would start exactly one engine for it."""
    add_task()

    async def scenario() -> tuple[int, int]:
        engines = NoEngines()
        router = Router.__new__(Router)
        await router.__init__(settings, SERVED, engines)  # type: ignore[misc]
        await asyncio.sleep(0.3)
        before = len(engines.tickets)
        task_store.heartbeat(EngineRecord("engine", 1, "pico", "starting"))
        await asyncio.sleep(0.5)
        await _stopped(router)
        return before, len(engines.tickets)

    assert asyncio.run(scenario()) == (0, 2)


def test_the_engines_that_the_work_asks_for_are_shown(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    assert desired_engines(task_store, settings) == 0
    add_task()
    assert desired_engines(task_store, settings) == 1
    hurried = load_settings(
        overrides={"engine": {"ranks": 1}, "autoscaling": {"max_engines": 3, "drain_target_seconds": 0.1}}
    )
    assert desired_engines(task_store, hurried) == 3
    assert desired_engines(task_store, load_settings(overrides={"engine": {"replicas": 4}})) == 4


def test_a_reading_ages_while_the_store_is_away(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tasks.sqlite3")
    meter = WorkMeter(store, 300.0)
    assert meter.stats() == {}, "nothing to say before the first look"
    meter.read()
    first = meter.stats()
    store.close()
    with pytest.raises(Exception, match="closed"):
        meter.read()
    assert meter.stats() == first


def test_engines_in_quarantine_are_counted_while_they_live(task_store: SqliteStore) -> None:
    for name, state in (("a", "ready"), ("b", "quarantined")):
        task_store.heartbeat(EngineRecord(name, 1, "pico", state))
    assert WorkMeter(task_store, 300.0).read().quarantined == 1
    assert WorkMeter(task_store, 300.0, fresh_seconds=-1.0).read().quarantined == 0


def test_old_arrivals_are_no_arrivals(
    settings: Settings, task_store: SqliteStore, add_task: Callable[..., Task]
) -> None:
    add_task()
    assert task_store.demand(300.0).arrived_gpu_seconds == 1.0
    later = SqliteStore(settings.sqlite_file, clock=lambda: time.time() + 301)
    found = later.demand(300.0)
    later.close()
    assert (found.arrived_gpu_seconds, found.queued_gpu_seconds) == (0.0, 1.0)
