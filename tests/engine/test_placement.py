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


def test_an_offloaded_stack_has_two_layers_on_the_device_at_most():
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
    assert seen == 2 * [[0, 1], [1, 2], [2, 3], [3]]
    assert offloaded.present == []


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
