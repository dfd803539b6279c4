"""Weights come to the device and go, and compute the same there."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from engine.host_weights import HostWeights
from engine.placement import Offloaded, Swapped

CPU = torch.device("cpu")


def test_an_evicted_module_has_its_host_tensors_back():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval().requires_grad_(False)
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    swapped = Swapped(module, CPU)
    with torch.inference_mode():
        swapped.enter()
        during = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
        assert all(during[name] != before[name] for name in before)
        swapped.leave()
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == before


class Recorder(nn.Module):
    """A layer that notes which layers of its stack are on the device while it computes."""

    def __init__(self, seen: list[list[int]]) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(8, 8), seen
        self.stack: Sequence[HostWeights] = ()

    def forward(self, x):
        self.seen.append([index for index, host in enumerate(self.stack) if host.present])
        return self.linear(x)


def test_where_copies_come_in_order_an_offloaded_stack_has_the_layer_that_computes():
    seen: list[list[int]] = []
    stack = nn.Sequential(*(Recorder(seen) for _ in range(4))).requires_grad_(False)
    x = torch.randn(2, 8)
    expected = stack(x)
    seen.clear()
    offloaded = Offloaded(stack, list(stack), (), CPU)
    for layer in stack:
        layer.stack = offloaded._hosts
    with torch.inference_mode():
        assert torch.equal(stack(x), expected)
        assert torch.equal(stack(x), expected)
    assert seen == 2 * [[0], [1], [2], [3]]
    assert offloaded.present == []


class LateLane:
    """Copies as a device does: a copy is there when it is waited for, and room is free when computing is settled."""

    def __init__(self, layers: Sequence[HostWeights], device: torch.device) -> None:
        self.layers, self.order, self.most = layers, [], 0
        self.underway: set[int] = set()
        self.computing: set[int] = set()

    def bring(self, index):
        if index not in self.underway and not self.layers[index].present:
            self.order.append(f"copy {index}")
            self.underway.add(index)
        self.count()

    def wait(self, index):
        if index in self.underway:
            self.underway.remove(index)
            self.layers[index].bring()
        self.order.append(f"compute {index}")
        self.computing.add(index)
        self.count()

    def computed(self, index):
        self.layers[index].drop()

    def settle(self, index):
        self.computing.discard(index)

    def count(self):
        there = {index for index, host in enumerate(self.layers) if host.present}
        self.most = max(self.most, len(there | self.underway | self.computing))


def late_stack(again):
    """Three layers on a lane that copies late; what they compute; and which were there when each computed."""
    seen: list[list[int]] = []
    stack = nn.Sequential(*(Recorder(seen) for _ in range(3))).requires_grad_(False)
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    expected = stack(x)
    seen.clear()
    lanes: list[LateLane] = []

    def lane(layers, device):
        lanes.append(LateLane(layers, device))
        return lanes[0]

    placed = Offloaded(stack, stack, (), CPU, again=again, lane=lane)
    for layer in stack:
        layer.stack = placed._hosts
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(stack(x), expected)
    assert seen == 2 * [[0], [1], [2]]
    return placed, lanes[0]


def test_a_layer_is_copied_while_the_one_before_computes():
    placed, lane = late_stack(again=False)
    once = ["copy 0", "compute 0", "copy 1", "compute 1", "copy 2", "compute 2"]
    assert lane.order == 2 * once
    assert lane.most == 2
    assert placed.present == []


def test_a_stack_that_is_passed_again_copies_its_first_layer_while_the_last_computes():
    placed, lane = late_stack(again=True)
    once = ["compute 0", "copy 1", "compute 1", "copy 2", "compute 2", "copy 0"]
    assert lane.order == ["copy 0", *once, *once]
    assert lane.most == 2
    lane.wait(0)
    placed.leave()
    assert placed.present == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="copies overlap on CUDA devices only")
@pytest.mark.parametrize("how", ["swapped", "offloaded"])
def test_weights_of_a_cuda_device_come_and_go(how):
    cuda = torch.device("cuda")
    torch.manual_seed(0)
    stack = nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(6))).requires_grad_(False)
    x, layer_bytes = torch.randn(64, 1024, device=cuda), 4 * (1024 * 1024 + 1024)
    expected = copy.deepcopy(stack).to(cuda)(x)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    placed = Swapped(stack, cuda) if how == "swapped" else Offloaded(stack, list(stack), (), cuda)
    assert all(weight.is_pinned() for weight in stack.parameters())
    with torch.inference_mode():
        placed.enter()
        for _ in range(3):
            assert torch.equal(stack(x), expected)
    placed.leave()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < (7 if how == "swapped" else 3) * layer_bytes
    assert torch.cuda.memory_allocated() - before < layer_bytes
