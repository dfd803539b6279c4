"""What stands between a layer's matrix products, compiled: one pass over memory where the plain way takes several.

The regions are compiled, not whole layers: the products are calls into the same libraries either way, and attention
talks to other ranks. So one small set of kernels serves all layers and stages, every expert, weights of any format and
wherever a memory plan puts them, and there is nothing to guard but tensors. The number of tokens is dynamic: prompts
differ in length, and a kernel for each would be compiled in the middle of a clip. All other sizes are constants.

On a GPU torch's compiler writes Triton kernels, on a CPU C++ ones, for which it needs a compiler. Where it fails, the
plain way goes on, and the log says why. No GPU has run this yet.

CUDA graphs are left out. A step of the full network's smallest pass is 101 TFLOP: 4 ms a layer at 600 TFLOP/s, while
its twenty-odd kernels take the host some 0.3 ms to queue (an estimate: nothing here was measured on a GPU). The queue
never runs dry, so graphs would save nothing; but they would hold memory for every length of prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _len_torch_dispatch_stack

from engine.model.dit import AudioVideoTransformer
from engine.model.layers import NORM_EPS, ExpertNorm
from engine.model.pointwise import PLAIN, Activation, Pointwise, Rotation
from engine.model.stream import Run

logger = logging.getLogger(__name__)

BACKEND = "inductor"
# torch keeps compiled C++ headers in a folder of /tmp that anybody could have made before; and a handful of kernels is
# no work for a pool of processes
OPTIONS = {"cpp_cache_precompile_headers": False, "compile_threads": 1}
LEAST_TOKENS = 2  # torch compiles a length of 1 anew

Result = TypeVar("Result")


class CompiledPointwise(Pointwise):
    """The same as the reference to rounding; see there for shapes. `failure` says why it is the reference by now."""

    def __init__(self, backend: str | Callable[..., Any] = BACKEND) -> None:
        self.failure = ""
        regions: tuple[Callable[..., Any], ...] = (scaled_norm, rotated_heads, scaled_heads, activated)
        options = OPTIONS if backend == BACKEND else None
        self._regions = {
            region: torch.compile(region, fullgraph=True, backend=backend, options=options)  # type: ignore[arg-type]
            for region in regions
        }

    def norm(self, x: Tensor, norm: ExpertNorm, runs: Sequence[Run], dtype: torch.dtype) -> Tensor:
        def plain() -> Tensor:
            return PLAIN.norm(x, norm, runs, dtype)

        return self._run(scaled_norm, (x, _weights(norm), _experts(norm, runs, x), dtype), plain)

    def heads(
        self,
        heads: tuple[Tensor, Tensor],
        norms: tuple[ExpertNorm, ExpertNorm],
        runs: Sequence[Run],
        rotary: tuple[Tensor, Tensor],
        rotation: Rotation,
    ) -> tuple[Tensor, Tensor]:
        def plain() -> tuple[Tensor, Tensor]:
            return PLAIN.heads(heads, norms, runs, rotary, rotation)

        weights, experts = map(_weights, norms), _experts(norms[0], runs, heads[0])
        return self._run(rotated_heads, (*heads, *weights, experts, *rotary, rotation), plain)

    def gate(self, mixed: Tensor, gate: Tensor) -> Tensor:
        # by itself: within the region a CPU would compute it anew for each channel of a head (three times as long)
        factors = torch.sigmoid(gate.float())
        return self._run(scaled_heads, (mixed, factors, gate.dtype), lambda: PLAIN.gate(mixed, gate))

    def activation(self, wide: Tensor, activation: Activation) -> Tensor:
        return self._run(activated, (wide, activation), lambda: PLAIN.activation(wide, activation))

    def _run(self, region: Callable[..., Result], arguments: tuple[Any, ...], plain: Callable[[], Result]) -> Result:
        # who watches operators, to count memory say, wants to see them
        if self.failure or len(arguments[0]) < LEAST_TOKENS or _len_torch_dispatch_stack():
            return plain()
        for argument in arguments:
            if isinstance(argument, Tensor) and len(argument) == len(arguments[0]):
                torch._dynamo.maybe_mark_dynamic(argument, 0)
        try:
            return self._regions[region](*arguments)  # type: ignore[no-any-return]
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
            self.failure = _reason(error)
            logger.warning("layers are computed without compiled kernels from here on: %s", self.failure)
            return plain()


def scaled_norm(x: Tensor, weights: Tensor, experts: Tensor | None, dtype: torch.dtype) -> Tensor:
    """RMS norm of x [S, ..., n] in float32, times 1 + weights [E, n] of each token's expert [S]; None: of the only."""
    scales = 1 + (weights[0] if experts is None else weights[experts])
    if experts is not None and x.dim() > scales.dim():
        scales = scales[:, None]
    return (F.rms_norm(x.float(), (x.shape[-1],), None, NORM_EPS) * scales).to(dtype)


def rotated_heads(
    query: Tensor,
    key: Tensor,
    query_weights: Tensor,
    key_weights: Tensor,
    experts: Tensor | None,
    cosines: Tensor,
    sines: Tensor,
    rotation: Rotation,
) -> tuple[Tensor, Tensor]:
    """Pointwise.heads, of norm weights [E, D]."""
    q, k = (
        rotation(scaled_norm(x, weights, experts, torch.float32), cosines, sines).to(x.dtype)
        for x, weights in ((query, query_weights), (key, key_weights))
    )
    return q, k


def scaled_heads(mixed: Tensor, factors: Tensor, dtype: torch.dtype) -> Tensor:
    """Heads [S, H, D] times float32 numbers [S, H]: [S, H D] of `dtype`."""
    return (mixed.float() * factors[:, :, None]).to(dtype).flatten(1)


def activated(wide: Tensor, activation: Activation) -> Tensor:
    """Pointwise.activation."""
    return PLAIN.activation(wide, activation)


def use_pointwise(model: AudioVideoTransformer, pointwise: Pointwise) -> None:
    """Let all layers compute what stands between their products in this way."""
    for layer in model.block.layers:
        layer.attention.pointwise = layer.mlp.pointwise = pointwise  # type: ignore[union-attr]


def _weights(norm: ExpertNorm) -> Tensor:
    return norm.weight.view(norm.experts, norm.dim)


def _experts(norm: ExpertNorm, runs: Sequence[Run], x: Tensor) -> Tensor | None:
    return None if norm.experts == 1 else modalities(tuple((run.modality, run.length) for run in runs), x.device)


@lru_cache(maxsize=16)
def modalities(runs: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """The modality of every token, int64 [S], of runs of (modality, length); made on the device: nobody waits."""
    with torch.inference_mode(False):  # kept: for whoever asks next
        parts = [torch.full((length,), modality, dtype=torch.int64, device=device) for modality, length in runs]
        return torch.cat(parts)


def _reason(error: Exception) -> str:
    """One line; the compiler's own error rather than that it failed."""
    cause = getattr(error, "inner_exception", error)
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
