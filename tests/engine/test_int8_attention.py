"""Attention with queries and keys in 8 bits against a masked softmax in float64, and where it runs."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from attention_cases import ITEMS, masked_softmax, random_heads, visible, whole

from engine.attention import (
    HeadKind,
    QueryBlock,
    attend_blocks,
    attend_blocks_int8,
    attention_backends,
    attention_kernel,
    biases_of,
    int8_backend,
    pin_attention,
)
from engine.attention.choice import BackendChoice, work_shape
from engine.attention.faults import INT8_PROBES, INT8_TOLERANCE, int8_fault, relative_error
from engine.attention.int8_backend import LEAST_KEYS, attend_in_int8, attend_sage, plain_int8, rounded
from engine.attention.probe import Found, find_backends
from engine.attention.torch_backends import JoinedKeys
from engine.attention_warm_up import measure_layers
from engine.exchange.plan import layer_plan
from engine.hosted_batch import HostedBatch
from engine.messages import ClipJob
from engine.model.stream import TokenStream
from engine.pipeline import Pipeline
from engine.worker import RankWorker, WorkerConfig
from hhray.blocks import Block
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.model_size import preset
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import ServedModel

CPU = torch.device("cpu")
TOKENS = sum(item.num_tokens for item in ITEMS)
KIND = HeadKind(CPU, torch.bfloat16, 2, 1, 64, int8=True)
CLAIMED = replace(KIND, device=torch.device("cuda", 0))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def kernel_by_its_meaning(q, k, v, *, tensor_layout, is_causal, smooth_k):
    """What the kernels of sageattention compute, as read from their source: rows absent from the last 64 keys would
    count as keys of score 0, so none may be."""
    assert (tensor_layout, is_causal, smooth_k) == ("NHD", False, False)
    assert k.shape[1] % 64 == 0
    assert q.dtype == k.dtype == v.dtype
    query, key = rounded(q[0].float(), 128), rounded(k[0].float(), 64)
    heads = [x.transpose(0, 1)[None] for x in (query, key, v[0].half().float())]
    return F.scaled_dot_product_attention(*heads, enable_gqa=True).transpose(1, 2).to(q.dtype)


def sage(kernel=kernel_by_its_meaning):
    return JoinedKeys("sageattention by its meaning", functools.partial(attend_sage, kernel))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [None, 0, 1, 3])
def test_every_block_is_a_masked_softmax_within_the_stated_error(dtype, window):
    blocks = whole(ITEMS, window)
    for heads in ((4, 2), (16, 8), (3, 1), (2, 2)):
        q, k, v = random_heads(TOKENS, dtype, heads)
        mixed = attend_blocks_int8(q, k, v, blocks)
        assert (mixed.dtype, mixed.shape) == (dtype, q.shape)
        error = relative_error(mixed.double(), masked_softmax(q, k, v, visible(ITEMS, window)), blocks)
        assert INT8_TOLERANCE / 5 < error <= INT8_TOLERANCE  # it was rounded


@pytest.mark.parametrize("window", [None, 1])
def test_the_uneven_slices_of_three_ranks_are_within_the_stated_error(window):
    plan = layer_plan(TokenStream(ITEMS), ParallelLayout(1, 3), window)
    q, k, v = random_heads(TOKENS, heads=(16, 8))
    for rank, (held, seen) in enumerate(zip(plan.held, plan.seen, strict=True)):
        keys, blocks = [row for part in seen for row in part], plan.row_blocks(rank)
        own = q[held.start : held.stop]
        expected = masked_softmax(own, k[keys], v[keys], visible(ITEMS, window)[held.start : held.stop][:, keys])
        mixed = attend_blocks_int8(own, k[keys], v[keys], blocks)
        assert relative_error(mixed.double(), expected, blocks) <= INT8_TOLERANCE


@pytest.mark.parametrize("channels", [16, 64, 128])
def test_both_pass_the_probe_of_kernels_in_8_bits(channels):
    kind = HeadKind(CPU, torch.bfloat16, 2, 1, channels, int8=True)
    assert int8_fault(plain_int8(), kind) == ""
    assert int8_fault(sage(), kind) == ""


def test_the_probe_finds_kernels_that_round_too_much_or_see_too_little():
    def few_steps(q, k, v, **ways):
        steps = q.float().abs().amax() / 31
        return kernel_by_its_meaning((q.float() / steps).round().mul(steps).to(q.dtype), k, v, **ways)

    def first_keys(q, k, v, **ways):
        return kernel_by_its_meaning(q, k[:, :4096], v[:, :4096], **ways)

    def absent(q, k, v, **ways):
        raise AssertionError("headdim should be in [64, 96, 128].\nmore")

    for wrong in (few_steps, first_keys):
        assert int8_fault(sage(wrong), KIND).startswith("it is wrong by 0.")
    assert int8_fault(sage(absent), KIND) == "AssertionError: headdim should be in [64, 96, 128]."
    assert all(max(part.stop for block in probe for part in block.keys) >= LEAST_KEYS for probe in INT8_PROBES)


def test_what_all_keys_have_in_common_costs_no_bits():
    q, k, v = random_heads(200, heads=(4, 2))
    shifted = k + 30 * torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(1))
    exact, everything = masked_softmax(q, shifted, v, torch.ones(200, 200, dtype=bool)), (QueryBlock(range(200), ()),)
    assert relative_error(attend_in_int8(q, shifted, v).double(), exact, everything) <= INT8_TOLERANCE
    key = rounded(shifted, 64)
    assert relative_error(JoinedKeys()(q, key, v, ()).double(), exact, everything) > 4 * INT8_TOLERANCE


def test_rounding_keeps_zeros_and_reaches_the_largest_number_of_each_block_and_head():
    x = torch.cat([torch.zeros(64, 2, 4), torch.arange(1.0, 33.0).view(4, 2, 4)])
    made = rounded(x, 64)
    assert torch.equal(made[:64], x[:64])
    assert made.isfinite().all()
    for head, largest in enumerate((28.0, 32.0)):
        steps = made[64:, head] / (largest / 127)
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
        assert made[64:, head].max() == pytest.approx(largest)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 6.0])
def test_rows_that_fill_the_last_block_of_keys_weigh_next_to_nothing(sharpness):
    q, k, v = random_heads(50, heads=(4, 2), keys=LEAST_KEYS + 1)  # 63 of them
    q, given = q * sharpness, k.clone()
    filled, exact = attend_sage(kernel_by_its_meaning, q, k, v), attend_in_int8(q, k, v)
    assert torch.equal(k, given)
    spread = (exact - v.mean(0).repeat_interleave(2, 0)).norm()
    assert 0 < (filled - exact).norm() < 63 / (LEAST_KEYS + 64) * spread + 1e-3 * exact.norm()


def test_few_keys_are_seen_plainly():
    q, k, v = random_heads(50, heads=(4, 2), keys=LEAST_KEYS - 1)
    assert torch.equal(attend_sage(None, q, k, v), JoinedKeys()(q, k, v, ()))


def test_more_queries_than_the_kernels_can_count_come_in_parts(monkeypatch):
    q, k, v = random_heads(2400, heads=(4, 2), keys=LEAST_KEYS)
    at_once, lengths = attend_sage(kernel_by_its_meaning, q, k, v), []

    def counted(q, k, v, **ways):
        lengths.append(q.shape[1])
        return kernel_by_its_meaning(q, k, v, **ways)

    monkeypatch.setattr(int8_backend, "MOST_ELEMENTS", LEAST_KEYS * 2 * 16)
    torch.testing.assert_close(attend_sage(counted, q, k, v), at_once, rtol=0, atol=1e-6)
    assert lengths == [2048, 352]
    monkeypatch.setattr(int8_backend, "MOST_ELEMENTS", LEAST_KEYS * 2 * 16 - 1)  # too few for the keys
    assert torch.equal(attend_sage(None, q, k, v), JoinedKeys()(q, k, v, ()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device: its kernels are tested instead")
def test_without_the_package_attention_is_plain_and_says_why(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    found = find_backends(CLAIMED)
    assert [backend.name for backend in found.backends] == ["torch sdpa"]
    assert found.refused["sageattention"] == "PackageNotFoundError: No package metadata was found for sageattention"
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.2.0")
    assert find_backends(CLAIMED).refused["sageattention"] == (
        "ImportError: sageattention 2.2.0 is installed; the series 1.x is meant: sageattention==1.0.6"
    )
    assert "sageattention" not in find_backends(replace(CLAIMED, int8=False)).refused


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device: its kernels are tested instead")
def test_a_kernel_that_passes_the_probe_is_preferred(monkeypatch):
    """Heads that claim to be on a CUDA device get numbers on the CPU; the package is there by its meaning."""
    random = HeadKind.random
    monkeypatch.setattr(HeadKind, "random", lambda kind, queries, keys: random(KIND, queries, keys))
    monkeypatch.setattr("engine.attention.faults.biases_of", lambda blocks, keys, device: biases_of(blocks, keys, CPU))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0.6")
    monkeypatch.setitem(sys.modules, "sageattention", ModuleType("sageattention"))
    monkeypatch.setitem(sys.modules, "sageattention.core", SimpleNamespace(sageattn=kernel_by_its_meaning))
    names = [backend.name for backend in find_backends(CLAIMED).backends]
    assert (names[0], names[-1]) == ("sageattention 1.0.6, plain below 4096 keys", "torch sdpa")


@dataclass
class Timed:
    """A backend that only says how long it takes."""

    name: str
    seconds: float

    def __call__(self, q, k, v, biases):
        return self.seconds


def test_the_fastest_of_both_runs_and_8_bits_where_results_must_repeat():
    rounding, plain = Timed("int8", 2.0), Timed("plain", 1.0)
    made = BackendChoice(lambda kind, compiled: Found((rounding, plain), {}), lambda call, device: call())
    kind, blocks = replace(CLAIMED, device=torch.device("meta")), (QueryBlock(range(9), (range(9),)),)
    assert made.backend(kind, blocks) is rounding
    made._tables[kind].seconds[work_shape(blocks)] = {"int8": 2.0, "plain": 1.0}
    assert made.backend(kind, blocks) is plain
    made.pinned = True
    assert made.backend(kind, blocks) is rounding


def test_warm_up_measures_heads_that_may_be_rounded(monkeypatch):
    asked = []
    monkeypatch.setattr("engine.attention_warm_up.measure_attention", lambda *one: asked.append(one))
    for int8 in (False, True):
        measure_layers(TokenStream(ITEMS[:1]), preset("pico"), 0, 1, CPU, int8=int8)
    assert [kind.int8 for kind, *_ in asked] == [False, True]


def test_plain_attention_stays_as_it_is_beside_8_bits():
    q, k, v = random_heads(TOKENS)
    blocks, kind = whole(ITEMS, 1), "float32 on cpu, 4 heads over 2 of 16"
    before = attend_blocks(q, k, v, blocks)
    assert not torch.equal(attend_blocks_int8(q, k, v, blocks), before)
    assert torch.equal(attend_blocks(q, k, v, blocks), before)
    said = attention_backends()
    assert said[kind] == "torch sdpa"
    assert said[f"{kind}, queries and keys in int8"] == "int8 in plain torch, slow"


def test_another_word_for_the_precision_of_attention_is_refused():
    with pytest.raises(ConfigError, match="attention precision 'fp8' is not known; choose one of: plain, int8"):
        Pipeline(ServedModel(preset("pico")), attention_precision="fp8")
    assert attention_kernel("plain") is attend_blocks


def test_a_deterministic_clip_uses_8_bits_too_and_gives_the_same_bytes_twice():
    served = ServedModel(preset("pico"))
    pipeline = Pipeline(served, tiers=[Resolution.P256], max_seconds=3, attention_precision="int8").to(CPU)
    job, made = ClipJob("task", "a red fox", 5, "256P", "1:1", 3, deterministic=True), []
    for _ in range(2):
        hosted = HostedBatch(pipeline.begin([job]), Block(0, 1))
        hosted.batch.step(0)  # the first one a hosted batch makes is watched, which takes long
        hosted.steps(1, 1, CPU)
        said = [line for kind, line in attention_backends().items() if "int8" in kind]
        made.append(hosted.batch.latents(0))
    pin_attention(False)
    assert "int8 in plain torch, slow (pinned)" in said
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True))


def test_a_rank_reports_what_its_attention_runs_in(tmp_path):
    config = WorkerConfig(0, 1, ServedModel(preset("pico")), "cpu", 1, str(tmp_path), attention_precision="int8")
    worker = RankWorker(config)
    worker.join("127.0.0.1", 0, 1.0)
    assert "int8 in plain torch, slow" in worker.load().attention.values()
    worker.close()
