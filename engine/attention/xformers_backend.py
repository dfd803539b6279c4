"""xformers' kernels of variable length: all blocks of queries at once, one call for each bias.

On a machine that has no GPU nothing of this can run but xformers' own preparation of the arguments, which the tests do
run; the kernels are held against float64 by the probe of every process that means to use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor

from engine.attention.bias import Bias, Biases
from engine.attention.xformers_library import xformers_module


@dataclass(frozen=True, slots=True)
class XformersKernel:
    """One forward operator of xformers, over the biases as they are; outcomes over several are merged by xformers.

    `direct` calls the operator itself. That is for a torch which the compiled extension was not built for: xformers'
    public functions then refuse every operator, also those that are torch's own or written in Triton.
    """

    fmha: ModuleType
    operator: Any
    direct: bool = False

    @property
    def name(self) -> str:
        return f"xformers {self.operator.NAME}"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, biases: Biases) -> Tensor:
        """See attend_blocks."""
        query, key, value = by_group(q, k, v)
        if len(biases) < 2:
            return self._whole(query, key, value, biases[0] if biases else None).reshape(q.shape)
        outputs, lses = zip(*(self._partial(query, key, value, bias) for bias in biases), strict=True)
        mixed: Tensor = self.fmha.merge_attentions(outputs, lses, write_lse=False, output_dtype=q.dtype)[0]
        return mixed.reshape(q.shape)

    def _whole(self, q: Tensor, k: Tensor, v: Tensor, bias: Bias | None) -> Tensor:
        mixed: Tensor
        if self.direct:
            mixed, _ = self.operator.apply(self.fmha.Inputs(q, k, v, attn_bias=bias), needs_gradient=False)
        else:
            mixed = self.fmha.memory_efficient_attention_forward(q, k, v, attn_bias=bias, op=self.operator)
        return mixed

    def _partial(self, q: Tensor, k: Tensor, v: Tensor, bias: Bias) -> tuple[Tensor, Tensor]:
        """[1, S, K, H / K, D] over the bias's keys, and the logarithms of its sums of exponentials [1, K, H / K, S]."""
        if self.direct:
            inputs = self.fmha.Inputs(q, k, v, attn_bias=bias, is_partial=True)
            output, context = self.operator.apply(inputs, needs_gradient=True)
            return output, context.lse
        output, lse = self.fmha.memory_efficient_attention_partial(q, k, v, attn_bias=bias, op=self.operator)
        return output, lse


def by_group(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q [S, H, D], k and v [S, K, D] -> all [1, S, K, H / K, D], as xformers takes grouped heads; no key is copied."""
    groups, per_group = k.shape[1], q.shape[1] // k.shape[1]
    key, value = (x[None, :, :, None].expand(-1, -1, -1, per_group, -1) for x in (k, v))
    return q.reshape(1, len(q), groups, per_group, q.shape[2]), key, value


def xformers_kernels() -> list[XformersKernel]:
    """The operators that can be asked for parts of the keys, FlashAttention-3 before -2, those built here only.

    Each comes twice, through xformers' public functions and directly; the first that a probe finds right is meant.

    Raises:
        ImportError: no xformers here.
    """
    fmha = xformers_module("xformers.ops.fmha")
    operators = [operator for operator in (fmha.flash3.FwOp, fmha.flash.FwOp) if operator.is_available()]
    return [XformersKernel(fmha, operator, direct) for operator in operators for direct in (False, True)]
