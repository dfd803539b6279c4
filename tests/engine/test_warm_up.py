"""Shapes of the warm-up run at load; a clip of any other shape is the first of its kind, and is counted."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from engine import kernel_trial
from engine.compiled import CompiledPointwise
from engine.kernel_cache import VARIABLE
from engine.messages import ClipJob, WorkerConfig
from engine.pipeline import Pipeline
from engine.worker import RankWorker
from hhray.errors import ConfigError
from hhray.geometry import ClipGeometry, Ratio, Resolution
from hhray.model_size import preset
from hhray.served_model import ServedModel

SERVED = ServedModel(preset("pico"))
WARM = ClipGeometry(Resolution.P256, Ratio.R1_1, 3)


def job(number, ratio="1:1"):
    return ClipJob(f"t{number}", "a ball", number, "256P", ratio, 3)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    scratch = str(tmp_path_factory.mktemp("scratch"))
    made = RankWorker(WorkerConfig(0, 1, SERVED, "cpu", 1, scratch, warm_up=(WARM,)))
    made.join("", 0, 1.0)
    made.load()
    yield made
    made.close()


def cold_shapes(worker, *jobs):
    """Of the first step of a batch."""
    worker.begin("batch", jobs)
    try:
        return worker.steps("batch", 0, 1).cold_shapes
    finally:
        worker.end("batch")


def test_a_shape_is_cold_once_unless_it_was_warmed_up(worker):
    assert cold_shapes(worker, job(1)) == 0
    assert cold_shapes(worker, job(1), job(2)) == 0  # more clips of a shape are the same shape
    assert cold_shapes(worker, job(1, "4:3")) == 1
    assert cold_shapes(worker, job(1, "4:3")) == 0


def test_a_later_step_meets_no_new_shape(worker):
    worker.begin("batch", (job(1, "3:4"),))
    try:
        assert [worker.steps("batch", index, 1).cold_shapes for index in range(2)] == [1, 0]
    finally:
        worker.end("batch")


@pytest.mark.parametrize("shape", [(Resolution.P720, 3), (Resolution.P256, 5)])
def test_a_shape_that_is_not_offered_cannot_be_warmed_up(shape):
    with pytest.raises(ConfigError, match="which is not offered"):
        Pipeline(SERVED, tiers=[Resolution.P256], max_seconds=4, warm_up=[ClipGeometry(shape[0], Ratio.R1_1, shape[1])])


def test_a_pipeline_that_compiles_makes_the_same_clip_and_keeps_its_kernels(tmp_path, monkeypatch):
    graphs = []

    def backend(graph, inputs):  # needs no C++ compiler
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(kernel_trial, "CompiledPointwise", partial(CompiledPointwise, backend))
    monkeypatch.setenv(VARIABLE, "")  # put back at the end
    latents = []
    for options in ({}, {"compiled": True, "kernel_dir": tmp_path / "kernels"}):
        pipeline = Pipeline(SERVED, **options).to("cpu")
        at_load = len(graphs)
        batch = pipeline.begin([job(1)])
        pipeline.step(batch)
        latents.append(batch.latents(0)[0])
        used = {type(layer.mlp.pointwise) for layer in batch.denoiser.model.block.layers}
    assert used == {CompiledPointwise}
    assert at_load == len(graphs) == 8  # no step compiles, and no kernel is compiled in vain
    torch.testing.assert_close(*latents, rtol=1e-4, atol=1e-4)
    (kept,) = (tmp_path / "kernels").iterdir()
    assert (kept / "contents.json").exists()
