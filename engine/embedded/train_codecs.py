"""`python -m engine.embedded.train_codecs --work FOLDER`: makes the video codec; a run that stopped goes on.

Writes video_codec.safetensors into the folder, and every some steps a picture: true frames above decoded ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine.embedded.codecs.training import STATE, Training
from engine.embedded.codecs.video import SpriteVideoCodec
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample

SAVE_EVERY, SHOW_EVERY = 250, 50
NUM_SHOWN, SHOWN_FRAMES = 6, 33


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.embedded.train_codecs", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="state, pictures and the result")
    parser.add_argument("--steps", type=int, default=3000, help="of a new run (3000); 0: the linear codec")
    parser.add_argument("--seed", type=int, default=4, help="of a new run (4)")
    parser.add_argument("--batch", type=int, default=3, help="crops to a step of a new run (3)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (2)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    resumed = (work / STATE).exists()
    seed, steps, batch, device = arguments.seed, arguments.steps, arguments.batch, arguments.device
    run = Training.resume(work, device) if resumed else Training.start(seed, steps, batch, device)
    _train(run, work)
    return 0


def _train(run: Training, work: Path) -> None:
    started, losses = time.monotonic(), []
    while run.step < run.num_steps:
        losses.append(run.advance())
        if run.step % SHOW_EVERY == 0:
            seconds = time.monotonic() - started
            sys.stdout.write(f"step {run.step} loss {np.mean(losses[-SHOW_EVERY:]):.4f} after {seconds:.0f} s\n")
            sys.stdout.flush()
        if run.step % SAVE_EVERY == 0 or run.step == run.num_steps:
            run.save(work)
            _show(run, work)
    basis, refiner = run.weights.settled()
    SpriteVideoCodec(basis, refiner if run.num_steps else None).save(work / "video_codec.safetensors")


def _show(run: Training, work: Path) -> None:
    """Some scenes before and after the codec, as a picture and as a signal-to-noise ratio."""
    rng, codec = np.random.default_rng(run.seed), SpriteVideoCodec(*run.weights.settled())
    rows, errors = [], []
    for _ in range(NUM_SHOWN):
        frames = torch.from_numpy(render(sample(rng, unseen=True), SHOWN_FRAMES))
        decoded = codec.decode(codec.encode_video(frames.permute(3, 0, 1, 2) / 127.5 - 1))
        errors.append((decoded.float() - frames).square().mean().item())
        rows += [torch.cat(list(video[:: SHOWN_FRAMES // 4]), dim=1) for video in (frames, decoded)]
    Image.fromarray(torch.cat(rows).numpy()).save(work / f"step_{run.step:06d}.png")
    sys.stdout.write(f"step {run.step} PSNR {10 * np.log10(255**2 / np.mean(errors)):.2f} dB\n")


if __name__ == "__main__":
    sys.exit(main())
