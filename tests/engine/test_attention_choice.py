"""Which backend is chosen: probes that find wrong ones, measurements at warm-up, pinning, and what is reported."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import pytest
import torch
from attention_cases import ITEMS, random_heads, whole

from engine.attention import attend_blocks, attention_backends, biases_of, pin_attention
from engine.attention.attend import _CHOICE
from engine.attention.bias import seen_rows
from engine.attention.choice import BackendChoice, best_seconds, work_shape
from engine.attention.probe import Found, HeadKind, fault, find_backends
from engine.attention.torch_backends import JoinedKeys, MergedParts, flash_cpu
from engine.attention_warm_up import measure_layers, measure_served
from engine.local_attention import LocalRule
from engine.model.stream import TokenStream
from hhray.geometry import Resolution
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.served_model import ServedModel

CPU = torch.device("cpu")
KIND = HeadKind(CPU, torch.float32, 4, 2, 16)
# the choice is the same for every device but a CPU, and this one computes nothing
GPU = replace(KIND, device=torch.device("meta"))
SHORT, LONG = whole(ITEMS[1:], None), whole(ITEMS[:1], None)
LOCAL = whole(ITEMS[:1], 1)


@dataclass
class Timed:
    """A backend that says how long it takes for how many queries, and cannot do more than `most`."""

    name: str
    seconds_of: dict[int, float]
    most: int = 10**9

    def __call__(self, q, k, v, biases):
        if len(q) > self.most:
            raise RuntimeError("out of memory")
        return self.seconds_of[len(q)]


def choice(*backends, refused=None):
    return BackendChoice(lambda kind, compiled: Found(backends, refused or {}), lambda call, device: call())


def keys_of(blocks):
    return max(part.stop for block in blocks for part in block.keys)


LONG_LINE = f"{GPU}, {ITEMS[0].num_tokens} queries x {ITEMS[0].num_tokens} keys"
SHORT_TOKENS, LONG_TOKENS = ITEMS[1].num_tokens, ITEMS[0].num_tokens
FIRST = Timed("first", {SHORT_TOKENS: 1.0, LONG_TOKENS: 5.0})
SECOND = Timed("second", {SHORT_TOKENS: 2.0, LONG_TOKENS: 4.0})


@pytest.fixture
def warm(monkeypatch):
    made = choice(FIRST, SECOND, refused={"third": "wrong by 2"})
    monkeypatch.setattr(HeadKind, "random", lambda kind, queries, keys: (range(queries), None, None))
    for blocks in (SHORT, LONG):
        made.measure(GPU, blocks, keys_of(blocks))
    return made


def test_the_fastest_is_chosen_for_each_shape(warm):
    assert warm.backend(GPU, SHORT) is FIRST
    assert warm.backend(GPU, LONG) is SECOND


def test_other_shapes_go_by_the_nearest_measured(warm):
    assert warm.backend(GPU, whole(ITEMS[1:] * 2, None)) is FIRST
    assert warm.backend(GPU, whole(ITEMS[:1] * 3, None)) is SECOND


def test_a_local_window_goes_by_a_measured_window(warm):
    assert warm.backend(GPU, LOCAL) is SECOND  # no window was measured
    FIRST_IN_WINDOWS = choice(Timed("first", {LONG_TOKENS: 1.0}), Timed("second", {LONG_TOKENS: 2.0}))
    FIRST_IN_WINDOWS.measure(GPU, LOCAL, LONG_TOKENS)
    assert FIRST_IN_WINDOWS.backend(GPU, whole(ITEMS[:1], 3)).name == "first"


def test_nothing_is_measured_when_attention_runs():
    made = choice(FIRST, SECOND)
    assert made.backend(GPU, LONG) is FIRST  # the preferred one, though the slower
    assert made.report() == {str(GPU): "first"}


def test_a_backend_that_fails_at_a_shape_is_left_out_of_it(monkeypatch):
    monkeypatch.setattr(HeadKind, "random", lambda kind, queries, keys: (range(queries), None, None))
    made = choice(replace(FIRST), Timed("second", {LONG_TOKENS: 1.0}, most=0))
    made.measure(GPU, LONG, LONG_TOKENS)
    assert made.backend(GPU, LONG).name == "first"
    nobody = choice(Timed("first", {}, most=0), Timed("second", {}, most=0))
    nobody.measure(GPU, LONG, LONG_TOKENS)
    assert nobody.backend(GPU, LONG).name == "first"


def test_what_only_competes_is_reported_and_never_runs(warm):
    third = Timed("third", {LONG_TOKENS: 1.0})
    made = BackendChoice(lambda kind, compiled: Found((FIRST,), {}, (third,) * compiled), lambda call, device: call())
    made.compiled = True
    made.measure(GPU, LONG, LONG_TOKENS)
    assert made.backend(GPU, LONG) is FIRST
    assert made.report()[LONG_LINE] == "first 5e+03 ms, third 1e+03 ms"


def test_pinned_the_preferred_backend_runs_whatever_was_measured(warm):
    warm.pinned = True
    assert warm.backend(GPU, LONG) is FIRST
    assert warm.report() == {str(GPU): "first (pinned)", f"{GPU}, not third": "wrong by 2"}
    fresh = choice(FIRST, SECOND)
    fresh.pinned = True
    fresh.measure(GPU, LONG, LONG_TOKENS)
    fresh.pinned = False
    assert fresh.backend(GPU, LONG) is FIRST  # nothing was measured meanwhile


def test_a_cpu_is_pinned():
    made = choice(FIRST, SECOND)
    made.measure(KIND, LONG, LONG_TOKENS)
    assert made.backend(KIND, LONG) is FIRST


def test_the_report_says_what_runs_how_fast_and_what_cannot(warm):
    assert warm.report()[LONG_LINE] == "second 4e+03 ms, first 5e+03 ms"
    assert warm.report()[f"{GPU}, not third"] == "wrong by 2"
    assert str(work_shape(LOCAL)).endswith("keys in 2 ranges")


def test_attention_of_this_process_is_reported_and_can_be_pinned():
    q, k, v = random_heads(LONG_TOKENS)
    mixed = attend_blocks(q, k, v, LOCAL)
    assert attention_backends()["float32 on cpu, 4 heads over 2 of 16"] == "torch sdpa"
    pin_attention()
    try:
        assert torch.equal(attend_blocks(q, k, v, LOCAL), mixed)
        assert attention_backends()["float32 on cpu, 4 heads over 2 of 16"] == "torch sdpa (pinned)"
    finally:
        pin_attention(False)
    assert not _CHOICE.pinned


def test_a_probe_passes_right_kernels_and_finds_wrong_ones():
    right = MergedParts("right", flash_cpu)
    assert fault(right, KIND) == ""
    assert fault(right, replace(KIND, dtype=torch.bfloat16)) == ""

    def base_two(q, k, v):  # a kernel whose logarithms are of another base
        output, lse = flash_cpu(q, k, v)
        return output, lse / torch.tensor(2.0).log()

    def careless(q, k, v, biases):  # sees all keys
        return JoinedKeys()(q, k, v, ())

    def blind(q, k, v, biases):  # forgets the second range of keys
        rows = seen_rows(biases[:1], len(q), len(k))
        return torch.cat(
            [JoinedKeys()(q[a.start : a.stop], k[b.start : b.stop], v[b.start : b.stop], ()) for a, (b,) in rows]
        )

    for wrong in (MergedParts("base two", base_two), careless, blind):
        assert fault(wrong, KIND).startswith("it is wrong by")
        assert fault(wrong, replace(KIND, dtype=torch.bfloat16)).startswith("it is wrong by")


def test_a_kernel_that_is_not_there_is_refused_in_one_line():
    def absent(q, k, v, biases):
        raise NotImplementedError("No operator found\n  because of this\n  and that")

    assert fault(absent, KIND) == "NotImplementedError: No operator found"
    nan = lambda q, k, v, biases: q * float("nan")  # noqa: E731
    assert fault(nan, KIND) == "it is wrong by nan"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device: its kernels are tested instead")
def test_without_a_gpu_cuda_kernels_are_refused_one_by_one(monkeypatch, caplog):
    """Heads that claim to be on a CUDA device go through the whole probe; every kernel fails, none is trusted."""
    caplog.set_level(logging.INFO, "engine.attention")
    monkeypatch.setattr(
        HeadKind, "random", lambda kind, queries, keys: random_heads(queries, torch.bfloat16, keys=keys)
    )
    claimed = HeadKind(torch.device("cuda", 0), torch.bfloat16, 4, 2, 16)
    found = find_backends(claimed, compiled=True)
    assert [backend.name for backend in found.backends] == ["torch sdpa"]
    assert {"torch cudnn", "torch flash", "torch flex"} < set(found.refused)
    assert any(name.startswith("xformers") for name in found.refused)
    assert any("no torch cudnn" in line for line in caplog.messages)


def test_the_clock_takes_the_best_of_several_runs_after_one_that_warms_up():
    calls = []
    assert 0 <= best_seconds(lambda: calls.append(1), CPU) < 1
    assert len(calls) == 4


def test_warm_up_measures_each_kind_of_layer_as_a_rank_computes_it(monkeypatch):
    asked = []
    monkeypatch.setattr("engine.attention_warm_up.measure_attention", lambda *one: asked.append(one))
    pico = preset("pico")
    measure_layers(TokenStream(ITEMS[:1]), pico, 1, 2, CPU, LocalRule(1, frozenset({0})))
    assert len(asked) == 2
    for kind, blocks, num_keys in asked:
        assert pico.num_heads % kind.heads == 0
        assert kind.head_dim == pico.head_dim
        q, k, v = kind.random(blocks[-1].queries.stop, num_keys)
        assert attend_blocks(q, k, v, blocks).shape == q.shape
    assert {max(len(block.keys) for block in blocks) for _, blocks, _ in asked} == {1, 2}


def test_warm_up_measures_the_passes_of_every_tier(monkeypatch):
    asked = []
    monkeypatch.setattr("engine.attention_warm_up.measure_attention", lambda *one: asked.append(one))
    served = ServedModel(preset("15b"), ladder={Resolution.P1080: Stage.SR_1080P})
    measure_served(served, (Resolution.P1080,), 15, 0, 8, CPU)
    assert len(asked) == 3  # the base, once for both tiers, and 1080p with and without the window
    assert {kind.dtype for kind, *_ in asked} == {torch.bfloat16}
    assert biases_of(asked[-1][1], asked[-1][2], CPU) is not None
