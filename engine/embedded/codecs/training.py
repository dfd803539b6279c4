"""Trains the video codec: directions and refiner together, on crops around things.

Every batch is drawn from its own step's number, so that a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.embedded.codecs.blocks import BLOCK, Basis, axes, blocks_of, principal_directions
from engine.embedded.codecs.refiner import Refiner, linear_frames
from engine.embedded.world.motion import track
from engine.embedded.world.render import face_centre, render
from engine.embedded.world.sampling import sample
from engine.embedded.world.scene import NATIVE, Scene
from hhray.geometry import FRAMES_PER_SECOND, SPATIAL_STRIDE, TEMPORAL_STRIDE
from hhray.model_size import VIDEO_CHANNELS

BASIS_SCENES, BASIS_FRAMES = 400, 13
EVENNESS = 0.75
CROP = 6  # latents on a side
CROP_TIME = 5  # latent frames
LONGEST = 77  # frames of a scene from which crops are taken
WARM_UP = 100
REFINER_RATE, DIRECTION_RATE = 1.5e-3, 5e-5
NOISE = 0.1  # the most that is added to latents, so that decoding forgives those of a network
STATE = "training.pt"


def block_statistics(seed: int) -> tuple[Tensor, Tensor]:
    """Mean float32 [3072] and covariance float32 [3072, 3072] of the blocks of random scenes."""
    rng = np.random.default_rng([seed, 0])
    second, first, count = torch.zeros(BLOCK, BLOCK, dtype=torch.float64), torch.zeros(BLOCK, dtype=torch.float64), 0
    for _ in range(BASIS_SCENES):
        start = int(rng.integers(LONGEST - BASIS_FRAMES))
        blocks = blocks_of(_video(sample(rng), start, BASIS_FRAMES)).flatten(0, 2)
        second += (blocks.T @ blocks).double()
        first += blocks.double().sum(0)
        count += len(blocks)
    mean = first / count
    return mean.float(), (second / count - torch.outer(mean, mean)).float()


def crops(seed: int, step: int, batch_size: int) -> Tensor:
    """A batch of video around things: float32 [B, 3, 4 (T - 1) + 1, H, W] in [-1, 1]."""
    rng = np.random.default_rng([seed, 1, step])
    num_frames, side = TEMPORAL_STRIDE * (CROP_TIME - 1) + 1, CROP * SPATIAL_STRIDE
    batch = []
    for _ in range(batch_size):
        scene, start = sample(rng), int(rng.integers(LONGEST - num_frames))
        x, y = _centre(scene, (start + num_frames / 2) / FRAMES_PER_SECOND, rng)
        corner = [
            int(np.clip(round(at * NATIVE.height + rng.integers(-24, 25) - side / 2), 0, limit - side))
            for at, limit in ((y, NATIVE.height), (x, NATIVE.width))
        ]
        batch.append(_video(scene, start, num_frames)[:, :, corner[0] :, corner[1] :][:, :, :side, :side])
    return torch.stack(batch)


class CodecWeights(nn.Module):
    """All that is learned. `free` float32 [48, 3072] becomes the directions when it is made orthonormal; `scales` are
    those of the directions it began with."""

    mean: Tensor
    covariance: Tensor
    scales: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor, directions: Tensor) -> None:
        super().__init__()
        self.free = nn.Parameter(directions.float())
        self.refiner = Refiner()
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)
        self.register_buffer("scales", self._axes(directions.float())[1].float())

    def basis(self) -> Basis:
        """The projection as it is now."""
        columns, triangle = torch.linalg.qr(self.free.T)
        return Basis(self.mean, (columns * triangle.diagonal().sign()).T, self.scales)

    @torch.no_grad()
    def settled(self) -> tuple[Basis, Refiner]:
        """The same codec with its latents turned to independent ones, the largest first, of mean variance 1."""
        basis, refiner = self.basis(), Refiner().to(self.mean.device)
        rotation, scales = self._axes(basis.directions)
        refiner.load_state_dict(self.refiner.state_dict())
        turn = (rotation.T * scales / self.scales.double()[:, None]).float()
        refiner.read.weight.copy_(torch.einsum("octhw,cd->odthw", refiner.read.weight, turn))
        directions = rotation.float() @ basis.directions
        return Basis(self.mean.cpu(), directions.cpu(), scales.float().cpu()), refiner.cpu().eval()

    def _axes(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        return axes((directions @ self.covariance @ directions.T).double(), EVENNESS)


@dataclass(slots=True)
class Training:
    """A run and the steps it has made."""

    weights: CodecWeights
    optimiser: torch.optim.Optimizer
    seed: int
    num_steps: int
    batch: int
    step: int = 0

    @classmethod
    def start(cls, seed: int, num_steps: int, batch: int, device: str) -> Training:
        torch.manual_seed(seed)
        mean, covariance = block_statistics(seed)
        weights = CodecWeights(mean, covariance, principal_directions(covariance.double()))
        weights.to(device)
        return cls(weights, _optimiser(weights), seed, num_steps, batch)

    def advance(self) -> float:
        """Make one step; returns its loss."""
        basis = self.weights.basis()
        video = crops(self.seed, self.step, self.batch).to(basis.mean.device)
        generator = torch.Generator().manual_seed(self.seed + self.step)
        latent = torch.stack([basis.encode(one) for one in video])
        spread = NOISE * torch.rand(len(latent), 1, 1, 1, 1, generator=generator)
        latent = latent + (spread * torch.randn(latent.shape, generator=generator)).to(latent.device)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self._rate()
        linear = linear_frames(torch.stack([basis.decode(one) for one in latent]))
        difference = (linear + self.weights.refiner(latent))[:, :, TEMPORAL_STRIDE - 1 :] - video
        # squares: absolute errors are mostly those of flat parts, and the edges would hardly count
        loss = difference.square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """Write the state, whole or not at all."""
        state = {"weights": self.weights.state_dict(), "optimiser": self.optimiser.state_dict()}
        partial = folder / (STATE + ".partial")
        numbers = {"seed": self.seed, "num_steps": self.num_steps, "batch": self.batch, "step": self.step}
        torch.save(state | numbers, partial)
        partial.replace(folder / STATE)

    @classmethod
    def resume(cls, folder: Path, device: str) -> Training:
        """The run that was saved in `folder`."""
        state = torch.load(folder / STATE, weights_only=True, map_location=device)
        weights = CodecWeights(torch.zeros(BLOCK), torch.eye(BLOCK), torch.eye(VIDEO_CHANNELS, BLOCK))
        weights.load_state_dict(state["weights"])
        optimiser = _optimiser(weights.to(device))
        optimiser.load_state_dict(state["optimiser"])
        return cls(weights, optimiser, state["seed"], state["num_steps"], state["batch"], state["step"])

    def _rate(self) -> float:
        """Share of the learning rate: a short rise, then half a cosine down."""
        rise = min(1.0, (self.step + 1) / WARM_UP)
        return rise * (0.5 + 0.5 * math.cos(math.pi * self.step / self.num_steps))


def _optimiser(weights: CodecWeights) -> torch.optim.Optimizer:
    groups = [
        {"params": [weights.free], "peak": DIRECTION_RATE},
        {"params": list(weights.refiner.parameters()), "peak": REFINER_RATE},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0)


def _video(scene: Scene, start: int, num_frames: int) -> Tensor:
    """Frames of a scene from `start` on: float32 [3, F, H, W] in [-1, 1]."""
    frames = torch.from_numpy(render(scene, num_frames, first=start))
    return frames.permute(3, 0, 1, 2).float() / 127.5 - 1


def _centre(scene: Scene, time: float, rng: np.random.Generator) -> tuple[float, float]:
    """Where one of the things is, in heights of the picture."""
    if scene.face:
        return face_centre(scene.face, NATIVE.aspect)
    thing = scene.things[int(rng.integers(len(scene.things)))]
    path = track(thing, np.array([time]), NATIVE.aspect)
    return float(path.x[0]), float(path.y[0])
