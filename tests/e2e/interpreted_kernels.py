"""The kernels of sageattention in Triton's interpreter, on a CPU, against the definition and the plain arithmetic.

Prints one JSON object. To be run with TRITON_INTERPRET=1; it shows what the kernels compute, not that a GPU does so.
"""

from __future__ import annotations

import functools
import json
from importlib.metadata import version

import torch
from sageattention.attn_qk_int8_per_block import forward
from sageattention.quant_per_block import per_block_int8

from engine.attention import HeadKind, QueryBlock
from engine.attention.faults import int8_fault, masked_softmax, relative_error
from engine.attention.int8_backend import attend_sage, plain_int8
from engine.attention.torch_backends import JoinedKeys

CPU = torch.device("cpu")


def kernel(q, k, v, *, tensor_layout, is_causal, smooth_k):
    """What `sageattn` does for heads of 64 and 128 channels once it has made sure of a GPU."""
    assert not is_causal
    assert not smooth_k
    numbers = per_block_int8(q, k, tensor_layout=tensor_layout)
    rounded_q, q_steps, rounded_k, k_steps = numbers
    layout = {"tensor_layout": tensor_layout, "output_dtype": q.dtype}
    return forward(rounded_q, rounded_k, v.to(torch.float16), q_steps, k_steps, **layout)


def unfilled_error(keys: int) -> float:
    """Of the kernel alone, whose last rows of 64 are absent."""
    kind, everything = HeadKind(CPU, torch.float32, 2, 1, 64), (QueryBlock(range(64), (range(keys),)),)
    q, k, v = kind.random(64, keys)
    made = kernel(q[None], (k - k.mean(0))[None], v[None], tensor_layout="NHD", is_causal=False, smooth_k=False)[0]
    return relative_error(made.double(), masked_softmax(q, k, v, everything), everything)


def main() -> None:
    backend, facts = JoinedKeys("interpreted", functools.partial(attend_sage, kernel)), {}
    for channels in (64, 128):
        kind = HeadKind(CPU, torch.float32, 2, 1, channels)
        facts[f"fault of {channels} channels"] = int8_fault(backend, kind)
        for keys in (4096, 4097):
            q, k, v = kind.random(64, keys)
            made, plain = (one(q, k, v, ()) for one in (backend, plain_int8()))
            apart = relative_error(made.double(), plain.double(), (QueryBlock(range(64), (range(keys),)),))
            facts[f"relative to plain arithmetic, {channels} channels, {keys} keys"] = round(apart, 5)
    facts |= {f"error of {keys} keys, rows absent": round(unfilled_error(keys), 4) for keys in (128, 100)}
    print(json.dumps({name: version(name) for name in ("sageattention", "triton", "torch", "numpy")} | facts))


if __name__ == "__main__":
    main()
