"""The text of GET /metrics."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployment.metrics_collector import render
from deployment.store.sqlite import SqliteStore
from hhray import __version__, metrics
from hhray.corrected_costs import Measured
from hhray.errors import StoreUnavailable
from hhray.memory_parts import Stage
from hhray.predicted_ratio import PredictedRatios
from hhray.request import ClipRequest, Mode
from hhray.tasks import Artifact, EngineRecord, NewTask


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(tmp_path / "tasks.sqlite3")
    yield opened
    opened.close()


def create(store, number, **clip):
    request = ClipRequest(**{"model": "happyhorse-1.0-t2v", "mode": Mode.T2V, "prompt": "a horse", **clip})
    return store.create(NewTask("alice", request, "r", 2.5, True, f"t{number}", 1000.0))


def families(store):
    body, content_type = render(store, "tiny", lambda: 2)
    assert content_type.startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def samples(family, name):
    return {tuple(sample.labels.items()): sample.value for sample in family.samples if sample.name == name}


def test_every_family_is_there_before_anything_happened(store):
    found = families(store)
    assert {(metric.name, metric.kind, metric.help) for metric in metrics.ALL} == {
        (family.name, family.type, family.documentation) for family in found.values()
    }
    for metric in metrics.HISTOGRAMS:
        assert found[metric.name].samples == []
    assert samples(found["hhray_queue_depth"], "hhray_queue_depth") == {(): 0.0}
    (build,) = found["hhray_build_info"].samples
    assert (build.labels, build.value) == ({"version": __version__, "preset": "tiny"}, 1.0)


def test_counts_and_sums_are_exact_and_buckets_cumulative(store):
    expected_milliseconds = 0
    for number, seconds in enumerate([0.1, 0.5, 3.0, 1000.0]):
        create(store, number)
        (claim,) = store.claim_oldest("e", 100, 1)
        stages = {"denoise": seconds}
        task = store.publish(claim.task.task_id, "e", claim.fence, Artifact("k", "s", 1), stages, "")
        expected_milliseconds += round((task.ended_at - task.submitted_at) * 1000)
    found = families(store)
    (clip_sum,) = samples(found["hhray_clip_seconds"], "hhray_clip_seconds_sum").values()
    (clip_count,) = samples(found["hhray_clip_seconds"], "hhray_clip_seconds_count").values()
    assert (clip_count, clip_sum) == (4, expected_milliseconds / 1000)
    stage = [sample for sample in found["hhray_stage_seconds"].samples if sample.labels["stage"] == "denoise"]
    labels = {"resolution": "1080P", "duration": "5", "mode": "t2v", "outcome": "succeeded", "stage": "denoise"}
    buckets = [sample for sample in stage if sample.name.endswith("_bucket")]
    assert all({**sample.labels, "le": ""} == {**labels, "le": ""} for sample in buckets)
    assert [float(sample.labels["le"]) for sample in buckets] == [*metrics.BUCKETS_SECONDS, float("inf")]
    assert [sample.value for sample in buckets] == [2, 2, 2, *[3] * 9, 4]
    assert [sample.value for sample in stage if sample.name.endswith("_sum")] == [1003.6]
    body = render(store, "tiny", lambda: 2)[0]
    store.fold()
    assert render(store, "tiny", lambda: 2)[0] == body


def test_gauges_show_the_queue_the_running_clips_and_the_engines(store):
    for number in range(3):
        create(store, number)
    store.claim_oldest("e", 100, 1)
    for engine, state in (("e1", "warm"), ("e2", "warm"), ("e3", "loading")):
        store.heartbeat(EngineRecord(engine, 2, "tiny", state))
    found = families(store)
    values = {name: samples(found[name], name) for name in found if name not in {"hhray_build_info"}}
    assert values["hhray_queue_depth"] == {(): 2}
    assert values["hhray_queued_gpu_seconds"] == {(): 5.0}
    assert values["hhray_running_clips"] == {(): 1}
    assert values["hhray_running_gpu_seconds"] == {(): 2.5}
    assert values["hhray_engines"] == {(("state", "loading"),): 1, (("state", "warm"),): 2}
    assert values["hhray_engines_desired"] == {(): 2}


def test_cold_shapes_are_counted_by_engine(store):
    store.heartbeat(EngineRecord("e1", 2, "tiny", "ready", detail={"cold_shapes": 3}))
    store.heartbeat(EngineRecord("e2", 2, "tiny", "starting"))
    found = samples(families(store)["hhray_cold_shapes"], "hhray_cold_shapes_total")
    assert found == {(("engine", "e1"),): 3, (("engine", "e2"),): 0}


def test_errors_of_the_cost_model_are_a_histogram_of_their_own_buckets_the_same_from_every_replica(store):
    ratios = PredictedRatios("router")
    for ratio in (0.2, 0.97, 1.0, 9.0):
        ratios.observe(Measured(Stage.SR_1080P, "t2v/1080P/16:9/5", ratio))
    store.save_costs(ratios.take_changed())
    body = render(store, "tiny", lambda: 2)[0]
    assert body == render(store, "tiny", lambda: 2)[0]
    (family,) = (one for one in text_string_to_metric_families(body.decode()) if one.name == "hhray_predicted_ratio")
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    assert {**buckets[0].labels, "le": ""} == {"resolution": "1080P", "stage": "1080p_sr", "le": ""}
    assert [float(sample.labels["le"]) for sample in buckets] == [*metrics.RATIO_BUCKETS, float("inf")]
    assert [sample.value for sample in buckets] == [1, 1, 1, 1, 1, 1, *[3] * 7, 4]
    (total,) = (sample.value for sample in family.samples if sample.name.endswith("_sum"))
    assert total == pytest.approx(11.17)


def test_a_store_that_does_not_answer_gives_no_half_figures(store):
    store.close()
    with pytest.raises(StoreUnavailable):
        render(store, "tiny", lambda: 2)


def test_batches_are_counted_by_size_degree_and_reason(store):
    details = (
        {"batch_sizes": {"1": 5, "3": 2}, "clips_by_degree": {"2": 4, "0": 1}, "preemptions": {"paused": 2}},
        {"batch_sizes": {"4": 1}, "clips_by_degree": {"2": 4}, "preemptions": {}},
    )
    for name, detail in zip(("e1", "e2"), details, strict=True):
        store.heartbeat(EngineRecord(name, 2, "tiny", "busy", detail=detail))
    found = families(store)
    sizes = found["hhray_batch_size"]
    assert samples(sizes, "hhray_batch_size_count") == {(("engine", "e1"),): 7, (("engine", "e2"),): 1}
    assert samples(sizes, "hhray_batch_size_sum") == {(("engine", "e1"),): 11, (("engine", "e2"),): 4}
    of_e1 = {key[1][1]: count for key, count in samples(sizes, "hhray_batch_size_bucket").items() if key[0][1] == "e1"}
    assert of_e1 == {"1.0": 5, "2.0": 5, "4.0": 7, "8.0": 7, "16.0": 7, "+Inf": 7}
    degrees = samples(found["hhray_clips_by_degree"], "hhray_clips_by_degree")
    assert degrees == {(("degree", "0"),): 1, (("degree", "2"),): 8}
    reasons = samples(found["hhray_preemptions"], "hhray_preemptions_total")
    assert reasons == {(("engine", "e1"), ("reason", "paused")): 2}
