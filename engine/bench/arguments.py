"""The command line of the benchmark, read and checked before anything is built."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.bench.clock import CPU, WALL
from hhray.errors import ConfigError
from hhray.geometry import DURATIONS, PATCH, SPATIAL_STRIDE, Resolution, Size
from hhray.memory_plan import is_small
from hhray.model_size import PRESETS, ModelSize

SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
UNIT = SPATIAL_STRIDE * PATCH
STEPS = 3
TEXT_TOKENS = 320  # of a typical prompt; the length the published timings were made with is not known
# For comparisons on a CPU: the full network's kinds of layers and proportions, as wide as a CPU multiplies well.
MEDIUM = ModelSize("medium", 12, 2, 512, 8, 2, 64, 512)
NETWORKS = {**PRESETS, MEDIUM.name: MEDIUM}
LINK_GB_PER_SECOND = 450.0  # NVLink 4 of an H100 or H200, one direction


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured. `size`, WIDTHxHEIGHT, takes the place of `tier` unless empty; `link_gb_per_second` (10^9
    bytes, one direction) is the projection's; `device` is cpu or cuda. With `compiled` the engine's compiled way is
    measured, beside the plain one, and its kernels are kept in the folder `kernels` unless that is empty; `dtype`, fp32
    or bf16, takes the place of the network's own; `clock` is that of engine.bench.clock. `precision`, fp8 or int8, is
    what the measured network's linears are kept in; empty: `dtype`, as those of the plain one always are. `attention`,
    plain or int8, is the measured network's too. `batch` equal clips are denoised as one."""

    preset: str
    tier: Resolution
    size: str
    duration: int
    text_tokens: int
    steps: int
    device: str
    ranks: int
    link_gb_per_second: float
    compiled: bool = True
    kernels: str = ""
    dtype: str = ""
    clock: str = WALL
    precision: str = ""
    batch: int = 1
    attention: str = "plain"

    @property
    def network(self) -> ModelSize:
        return NETWORKS[self.preset]

    @property
    def pixels(self) -> Size | None:
        """The size asked for, if one was."""
        return Size(*map(int, self.size.split("x"))) if self.size else None


def parser() -> argparse.ArgumentParser:
    """Of `python -m engine.bench`."""
    made = argparse.ArgumentParser(
        prog="python -m engine.bench",
        description="Measure the engine's stages with random weights: seconds, TFLOP/s, memory, bytes exchanged.",
    )
    add = made.add_argument
    add("--preset", default="tiny", choices=sorted(NETWORKS), help="network (default: %(default)s)")
    which = made.add_mutually_exclusive_group()
    tiers = [tier.value for tier in Resolution]
    which.add_argument("--tier", default="256P", choices=tiers, help="16:9 clip of this tier (default: %(default)s)")
    which.add_argument("--size", default="", metavar="WxH", help=f"pixels instead of a tier; multiples of {UNIT}")
    add("--duration", type=int, default=5, metavar="SECONDS", help="of the clip (default: %(default)s)")
    add("--text-tokens", type=int, default=TEXT_TOKENS, metavar="N", help="of the prompt (default: %(default)s)")
    add("--steps", type=int, default=STEPS, metavar="N", help="timed steps of each stage (default: %(default)s)")
    add("--batch", type=int, default=1, metavar="N", help="clips denoised as one (default: %(default)s)")
    add("--ranks", type=int, default=1, metavar="N", help="share a clip, and compare with one rank (default: 1)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: cuda where there is one")
    link = f"of the projection, one direction (default: {LINK_GB_PER_SECOND:g}, NVLink 4)"
    add("--link-gbs", type=float, default=LINK_GB_PER_SECOND, metavar="GB/S", help=link)
    against = "measure the compiled way, and its ratio to the plain one (default: plain), or the plain one alone"
    add("--against", default="plain", choices=["plain", "none"], help=against)
    add("--dtype", default="", choices=["fp32", "bf16"], help="of the products (default: the network's own)")
    kept = "keep the linears of the measured network in 8 bits; the plain one stays as it is"
    add("--precision", default="", choices=["fp8", "int8"], help=kept)
    rounded = "int8: queries and keys of the measured network may be rounded to 8 bits (default: %(default)s)"
    add("--attention", default="plain", choices=["plain", "int8"], help=rounded)
    clock = "wall, or the processor's on a CPU: one thread, but other work does not count (default: %(default)s)"
    add("--clock", default=WALL, choices=[WALL, CPU], help=clock)
    add("--kernels", default="", metavar="FOLDER", help="keep compiled kernels here, for the next run")
    add("--dry", action="store_true", help="count FLOPs, bytes and memory; build no network, compute nothing")
    add("--json", action="store_true", help="print one JSON object")
    add("--to", type=Path, metavar="FOLDER", help="keep the JSON and the plots (PNG) here")
    return made


def checked(arguments: argparse.Namespace, cuda_devices: int) -> Options:
    """The options, on a machine with this many CUDA devices.

    Raises:
        ConfigError: an option is out of range, or this machine cannot do it; the message says what it can do.
    """
    _check_numbers(arguments)
    if arguments.size:
        _check_size(arguments.size)
    if arguments.clock == CPU and (arguments.ranks > 1 or _device(arguments, cuda_devices) != "cpu"):
        raise ConfigError(f"--clock {CPU} is for one rank on a CPU; use --clock {WALL}, or --ranks 1 --device cpu")
    return Options(
        preset=arguments.preset,
        tier=Resolution(arguments.tier),
        size=arguments.size,
        duration=arguments.duration,
        text_tokens=arguments.text_tokens,
        steps=arguments.steps,
        device=_device(arguments, cuda_devices),
        ranks=arguments.ranks,
        link_gb_per_second=arguments.link_gbs,
        compiled=arguments.against == "plain",
        kernels=arguments.kernels,
        dtype=arguments.dtype,
        clock=arguments.clock,
        precision=arguments.precision,
        batch=arguments.batch,
        attention=arguments.attention,
    )


def command_line(argv: Sequence[str], to: Path | None, kernels: str = "") -> str:
    """The command that was given, to be kept with its results; where these and kernels are kept is left out."""
    left_out = {f"--to={to}", "--to", str(to), f"--kernels={kernels}", "--kernels", kernels}
    kept = [word for word in argv if word not in left_out]
    return " ".join(["python -m engine.bench", *kept])


def _check_numbers(arguments: argparse.Namespace) -> None:
    if arguments.duration not in DURATIONS:
        raise ConfigError(f"--duration {arguments.duration}: give {DURATIONS[0]} to {DURATIONS[-1]} seconds")
    for option, least in (("text_tokens", 2), ("steps", 1), ("batch", 1), ("ranks", 1)):
        if getattr(arguments, option) < least:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} {getattr(arguments, option)}: give {least} or more")
    if not (math.isfinite(arguments.link_gbs) and arguments.link_gbs > 0):
        raise ConfigError(f"--link-gbs {arguments.link_gbs}: give the link's 10^9 bytes a second, more than 0")


def _check_size(text: str) -> None:
    found = SIZE.fullmatch(text)
    if not found or any(int(side) % UNIT for side in found.groups()):
        raise ConfigError(f"--size {text}: give WIDTHxHEIGHT in multiples of {UNIT} pixels, such as 896x512")


def _device(arguments: argparse.Namespace, cuda_devices: int) -> str:
    device: str = arguments.device
    if device == "auto":
        device = "cuda" if cuda_devices else "cpu"
    if arguments.dry:
        return device if cuda_devices else "cpu"
    if device == "cuda" and arguments.ranks > cuda_devices:
        raise ConfigError(
            f"{arguments.ranks} rank(s) on cuda need as many GPUs, and there are {cuda_devices} here; use --device cpu "
            "or fewer --ranks, or --dry, which computes nothing"
        )
    if device == "cpu" and arguments.device == "auto" and not is_small(NETWORKS[arguments.preset]):
        raise ConfigError(
            f"there is no GPU here, and a CPU takes hours for the {arguments.preset} network; count without computing "
            "by --dry, or ask for it by --device cpu"
        )
    return device
