"""Which weights lie where, so that a clip of a given shape fits a GPU; pure numbers, decided before anything is loaded.

Bytes follow the model specification 5.4; GB are 10^9 bytes. One GPU runs one stage after another: text, base,
super-resolution, decode. A stage needs the weights that stay, those it uses, its activations, the process groups of all
blocks the GPU is in, and a reserve. Activations are those of a clip shared by all GPUs; what a clip on fewer of them
needs is checked when it is moved there (`check_room`).

Plans are tried from the best to the most frugal; the first that fits is taken. Small networks are in float32, on the
GPU if there is one, else on the CPU. For all others:

1. everything in bfloat16 stays on the GPU;
2. the text encoder is offloaded: pinned in host memory, its layers copied while the layer before computes;
3. transformers and encoder in 8 bits stay (float8, or int8 weights that are expanded layer by layer);
4. as 3, with the encoder offloaded;
5. every component is swapped in from pinned host memory for its stage;
6. as 5, with the layers of super-resolution copied one by one, each while the one before computes;
7. as 6, with those of the base as well.

Where a format is wanted for the transformers, the same ways are tried with it alone, first with an encoder in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hhray.blocks import block_sizes
from hhray.errors import ConfigError
from hhray.geometry import DURATIONS, ClipGeometry, Ratio, Resolution
from hhray.memory_exchange import communicator_bytes, planned_exchange_bytes
from hhray.memory_parts import (
    TRANSFORMER_STAGES,
    Demand,
    Gpu,
    MemoryPlan,
    Place,
    Stage,
)
from hhray.memory_recipes import Recipe, components, recipes
from hhray.memory_size import (
    DECODE_BYTES_PER_PIXEL,
    ENCODER_ACTIVATION_BYTES,
    GB,
    WEIGHT_BYTES,
    Format,
    activation_bytes,
    transformer_bytes,
)
from hhray.model_size import PATCH_CHANNELS, ModelSize
from hhray.parallel_layout import ParallelLayout

MIN_GPU_GB = 24
RESERVE_BYTES = 3 * GB // 2  # CUDA context, fragmentation
MAX_TEXT_TOKENS = 640
KEPT_LATENTS = 4  # the latent itself; what a UniPC solver remembers: a latent and two predictions
SMALL_MODEL_BYTES = GB  # networks below this run on a CPU
RANK_COUNTS = (1, 2, 4, 8)


def plan_memory(gpu: Gpu | None, demand: Demand) -> MemoryPlan:
    """The best plan for one GPU of a gang, or without a GPU for the CPU.

    Raises:
        ConfigError: the demand makes no sense, or cannot fit; the message names the smallest change that would.
    """
    small = is_small(demand.size)
    if not demand.tiers or demand.duration not in DURATIONS or (demand.ranks not in RANK_COUNTS and not small):
        raise ConfigError(
            f"a plan is for one tier or more, {DURATIONS[0]} to {DURATIONS[-1]} seconds and 1, 2, 4 or 8 GPUs; "
            f"got {len(demand.tiers)} tiers, {demand.duration} seconds and {demand.ranks} GPUs"
        )
    if small:
        return _small_plan(gpu, demand)
    card = _checked_card(gpu, demand)
    plan = _first_fitting(card, demand)
    if plan is None:
        raise ConfigError(_refusal(card, demand))
    return plan


def is_small(size: ModelSize) -> bool:
    """Whether a CPU can run it: the presets embedded, tiny and pico, and what is of their kind."""
    return transformer_bytes(size, Format.BF16) < SMALL_MODEL_BYTES


def _checked_card(gpu: Gpu | None, demand: Demand) -> Gpu:
    name = demand.size.name
    if gpu is None:
        raise ConfigError(
            f"the {name} model needs an NVIDIA GPU; a CPU runs the small presets (embedded, tiny, pico) only"
        )
    if gpu.vendor.lower() != "nvidia":
        raise ConfigError(
            f"the {name} model runs on NVIDIA GPUs, this one is of {gpu.vendor}; "
            "a CPU runs the small presets (embedded, tiny, pico)"
        )
    if gpu.memory_gb < MIN_GPU_GB:
        raise ConfigError(
            f"the {name} model needs a GPU of at least {MIN_GPU_GB} GB, this one has {gpu.memory_gb:g} GB; "
            "a CPU runs the small presets (embedded, tiny, pico)"
        )
    return gpu


def _small_plan(gpu: Gpu | None, demand: Demand) -> MemoryPlan:
    place = Place.RESIDENT if gpu else Place.HOST
    recipe = Recipe(demand.precision or Format.FP32, place, place, place, place, True)
    plan = _plan(recipe, demand, False, gpu)
    return plan if gpu else MemoryPlan(plan.components, dict.fromkeys(plan.stage_bytes, 0), False)


def _first_fitting(gpu: Gpu, demand: Demand) -> MemoryPlan | None:
    for recipe in recipes(gpu.has_fp8, demand.precision):
        for chunked in (False, True):
            plan = _plan(recipe, demand, chunked, gpu)
            if plan.peak_bytes <= gpu.memory_gb * GB:
                return plan
    return None


def _plan(recipe: Recipe, demand: Demand, chunked: bool, gpu: Gpu | None) -> MemoryPlan:
    parts = components(recipe, demand)
    stages = [Stage.TEXT, *(item.stage for item in parts if item.name in TRANSFORMER_STAGES), Stage.DECODE]
    groups = communicator_bytes(block_sizes(demand.ranks), gpu.linked) if gpu else 0
    fixed = {stage: sum(item.gpu_bytes(stage) for item in parts) + groups + RESERVE_BYTES for stage in stages}
    peaks = {stage: fixed[stage] + _activations(stage, demand, chunked) for stage in stages}
    room = {stage: int(gpu.memory_gb * GB) - fixed[stage] for stage in stages} if gpu else None
    return MemoryPlan(parts, peaks, chunked, groups, room, demand.int8_attention)


def _activations(stage: Stage, demand: Demand, chunked: bool) -> int:
    if stage is Stage.TEXT:
        return ENCODER_ACTIVATION_BYTES
    tiers = demand.tiers
    if stage in (Stage.SR_540P, Stage.SR_1080P):
        tiers = tuple(tier for tier in demand.tiers if demand.ladder.get(tier) is stage)
    clips = [ClipGeometry(tier, ratio, demand.duration) for tier in tiers for ratio in Ratio]
    if stage is Stage.DECODE:
        sizes = [clip.output.run() for clip in clips]
        return int(max(size.width * size.height for size in sizes) * DECODE_BYTES_PER_PIXEL)
    grids = [clip.native_grid(demand.native_share) if stage is Stage.BASE else clip.run_grid for clip in clips]
    tokens = max(grid.num_tokens for grid in grids) + clips[0].audio_latents + MAX_TEXT_TOKENS
    return shared_activation_bytes(demand.size, tokens, demand.ranks, chunked, demand.layout, demand.int8_attention)


def shared_activation_bytes(
    size: ModelSize,
    num_tokens: int,
    num_ranks: int,
    chunked_mlp: bool,
    layout: ParallelLayout | None = None,
    int8_attention: bool = False,
) -> int:
    """Peak activations on each of `num_ranks` GPUs that share a stream of `num_tokens` tokens.

    With the exchange's, and with the latents, which every GPU holds whole: as if all tokens were video, in float32.

    Raises:
        ConfigError: the layout does not fit the ranks or the heads.
    """
    exchange = planned_exchange_bytes(size, num_tokens, num_ranks, layout, int8_attention)
    latents = KEPT_LATENTS * num_tokens * PATCH_CHANNELS * WEIGHT_BYTES[Format.FP32]
    return activation_bytes(size, -(-num_tokens // num_ranks), chunked_mlp, exchange) + latents


def check_room(
    plan: MemoryPlan, size: ModelSize, stage: Stage, num_tokens: int, num_ranks: int, layout: ParallelLayout | None
) -> None:
    """Whether a planned GPU can share `num_tokens` tokens of a stage with `num_ranks` - 1 others.

    Raises:
        ConfigError: it cannot; the message says what is missing.
    """
    if plan.room_bytes is None:
        return
    needed, room = (
        shared_activation_bytes(size, num_tokens, num_ranks, plan.chunked_mlp, layout, plan.int8_attention),
        plan.room_bytes[stage],
    )
    if needed > room:
        raise ConfigError(
            f"{num_tokens} tokens of {stage} on {num_ranks} GPU(s) need {needed / GB:.1f} GB of activations on each, "
            f"and {room / GB:.1f} GB are left beside the weights; let more GPUs share the clip"
        )


def _refusal(gpu: Gpu, demand: Demand) -> str:
    choices = recipes(gpu.has_fp8, demand.precision)
    least = min(_plan(recipe, demand, True, gpu).peak_bytes for recipe in choices)
    top = max(demand.tiers, key=list(Resolution).index)
    offers = list(_smaller(gpu, demand))
    change = f"the smallest change that fits: {' or '.join(offers)}" if offers else "no change of the request would fit"
    return (
        f"{top} clips of {demand.duration} seconds on {demand.ranks} GPU(s) need {least / GB:.1f} GB each, "
        f"and there are {gpu.memory_gb:g} GB; {change}"
    )


def _smaller(gpu: Gpu, demand: Demand) -> Iterator[str]:
    """The longest shorter clip, the highest lower tier and the fewest GPUs that fit, as far as they do."""
    tiers, ranks = demand.tiers, demand.ranks
    for duration in range(demand.duration - 1, DURATIONS[0] - 1, -1):
        if _first_fitting(gpu, replace(demand, duration=duration)):
            yield f"at most {duration} seconds"
            break
    order = list(Resolution)
    for tier in reversed(order[: max(map(order.index, tiers))]):
        lower = tuple(kept for kept in order if order.index(kept) <= order.index(tier))
        if _first_fitting(gpu, replace(demand, tiers=lower)):
            yield f"tiers up to {tier}"
            break
    for count in RANK_COUNTS:
        if count > ranks and _first_fitting(gpu, replace(demand, ranks=count)):
            yield f"{count} such GPUs"
            break
