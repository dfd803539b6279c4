"""`hhray generate`: one clip on this machine, without a server."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from hhray.console import printable
from hhray.errors import ConfigError
from hhray.geometry import MAX_DURATION, MIN_DURATION, Ratio, Resolution
from hhray.model_size import EMBEDDED
from hhray.request import Language
from hhray.verb import Verb


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", default="", help="what is to be seen and heard")
    parser.add_argument(
        "--weights",
        default=EMBEDDED,
        metavar="DIR",
        help="folder of weights, or embedded, or random ones: tiny, pico (default: %(default)s)",
    )
    parser.add_argument("--base", default="auto", choices=["auto", "distill", "base"], help="base weights to use")
    parser.add_argument(
        "--precision", default="auto", choices=["auto", "bf16", "fp8", "int8"], help="of the transformer's linears"
    )
    rounded = "int8: round queries and keys to 8 bits, where a kernel for that is right and fastest"
    parser.add_argument("--attention-precision", default="plain", choices=["plain", "int8"], help=rounded)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--image", metavar="FILE", help="first frame")
    parser.add_argument(
        "--reference", action="append", default=[], metavar="FILE", help="reference picture; repeatable"
    )
    parser.add_argument("--video", metavar="FILE", help="video to edit")
    parser.add_argument("--keep-sound", action="store_true", help="deliver the sound of --video")
    parser.add_argument("--sound", metavar="FILE", help="sound that drives the clip")
    parser.add_argument("--resolution", default=Resolution.P256.value, choices=[tier.value for tier in Resolution])
    parser.add_argument("--ratio", choices=[ratio.value for ratio in Ratio], help="default: the picture's, or 16:9")
    parser.add_argument("--duration", type=int, default=5, metavar="SECONDS", help=f"{MIN_DURATION} to {MAX_DURATION}")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--language", choices=[language.value for language in Language])
    parser.add_argument("--dialogue", default="", metavar="TEXT", help="words that are spoken")
    parser.add_argument("--fps", type=int, default=25, choices=[24, 25], help="frames a second (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("clip.mp4"), metavar="CLIP.mp4")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(args: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415 - seconds of imports, for this verb alone

    from engine.attention import attention_backends  # noqa: PLC0415
    from engine.pipeline import Pipeline  # noqa: PLC0415

    if not args.out.absolute().parent.is_dir():
        raise ConfigError(f"--out {args.out}: there is no directory {args.out.absolute().parent}")
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    began = time.monotonic()
    pipeline = Pipeline.from_pretrained(
        args.weights,
        base=args.base,
        tiers=[Resolution(args.resolution)],
        max_seconds=MAX_DURATION if args.video else max(MIN_DURATION, args.duration),
        frames_per_second=args.fps,
        precision=args.precision,
        attention_precision=args.attention_precision,
    ).to(device)
    loaded = time.monotonic()
    with Progress(console=Console(stderr=True), disable=args.json) as bar:
        task = bar.add_task("denoise")
        clip = pipeline(
            args.prompt,
            image=args.image,
            references=args.reference,
            video=args.video,
            sound=args.sound,
            keep_sound=args.keep_sound,
            duration=args.duration,
            resolution=args.resolution,
            ratio=args.ratio,
            seed=args.seed,
            language=args.language,
            dialogue=args.dialogue,
            on_step=lambda made, total: bar.update(task, completed=made, total=total),
        )
    clip.save(args.out)
    ended = time.monotonic()
    facts = {
        "clip": str(args.out.resolve()),
        "seconds_to_load": round(loaded - began, 3),
        "seconds_per_clip": round(ended - loaded, 3),
        "arithmetic": pipeline.arithmetic,
        "attention": ", ".join(sorted(set(attention_backends().values()))),
        "notice": clip.notice,
    }
    if args.json:
        print(json.dumps(facts))
        return 0
    for name, value in facts.items():
        if value != "":
            print(f"{name.replace('_', ' '):<18} {printable(str(value))}")
    return 0


VERBS = (Verb("generate", "make one clip on this machine, without a server", _configure, _run),)
