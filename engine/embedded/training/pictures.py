"""A picture of how far the transformer is: frames of clips it samples in eight steps, under true ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine.codecs.base import VideoCodec
from engine.denoiser import ClipInput, Denoiser
from engine.embedded.codecs.fields import sub_frames
from engine.embedded.meaning import Wish, meaning
from engine.embedded.training.examples import audio_latents
from engine.embedded.world.canvas import NATIVE
from engine.embedded.world.render import render
from engine.embedded.world.sampling import sample
from engine.model.dit import AudioVideoTransformer
from engine.samplers.distilled import DistilledSampler
from engine.samplers.noise import NoiseSource

ROWS, SHOWN = 6, 6
SEED = 6


@torch.inference_mode()
def save_pictures(model: AudioVideoTransformer, codec: VideoCodec, path: Path, num_latents: int) -> None:
    """Write a PNG: of each of six held-out scenes a row of true frames, and one of the sampled ones."""
    device = model.adapter.rope.bands.device
    denoiser, grid = Denoiser(model, DistilledSampler(), predicts_clean=True), NATIVE.size.latent_grid(num_latents)
    shown = np.linspace(0, sub_frames(num_latents)[-1, -1], SHOWN).round().astype(int)
    rows = []
    for seed in range(ROWS):
        scene = sample(np.random.default_rng([SEED, seed]), unseen=True)
        text, draw = torch.from_numpy(meaning(Wish(scene))).to(device), NoiseSource(seed, device)
        batch = denoiser.start([ClipInput(grid, audio_latents(num_latents), text, draw)])
        for index in range(denoiser.sampler.num_steps):
            denoiser.step(batch, index)
        for frames in (render(scene, grid.decoded_frames), codec.decode(batch.videos[0]).numpy()):
            rows.append(np.concatenate([frames[frame] for frame in shown], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)
