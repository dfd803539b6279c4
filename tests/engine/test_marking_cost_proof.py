"""Proof: what marking costs beside the encoding of the same frames and beside the making of a clip, in CPU seconds."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from engine.delivery import Delivery
from engine.marking.clip_marks import UNMARKED_CLIP, ClipMarks, marks_of
from engine.mux import write_mp4
from engine.pixels import PixelLayout
from engine.video_encoder import X264
from hhray.geometry import ClipGeometry, Ratio, Resolution
from hhray.marking import Marking
from hhray.memory_parts import Stage
from hhray.model_size import preset
from hhray.served_model import DEFAULT_LADDER, ServedModel
from hhray.settings import Settings

pytestmark = pytest.mark.proof
FRAMES, ROUNDS = 25, 5
MARKING = Marking(watermark="Happy Horse", label="AI-generated", producer="hhray")
LADDER = {tier: Stage(name) for tier, name in DEFAULT_LADDER.items()}
H100 = Settings(engine={"device": "cuda"})


class Tier:
    """Moving pictures of one size, as planes."""

    def __init__(self, tier: Resolution) -> None:
        self.geometry = ClipGeometry(tier, Ratio.R16_9, 5)
        size = self.geometry.output
        self.layout, self.delivery = PixelLayout.of_clip(size, size), Delivery(size, FRAMES)
        noise = torch.randn(1, 3, size.height // 40, size.width // 40, generator=torch.Generator().manual_seed(1))
        ground = F.interpolate(noise, (size.height, size.width + FRAMES), mode="bicubic")[0].permute(1, 2, 0)
        ground = (60 * ground + 128).clamp(0, 255).to(torch.uint8)
        frames = torch.stack([ground[:, index : index + size.width] for index in range(FRAMES)])
        self.planes = self.layout.laid_out(frames)

    def drawn(self, marks: ClipMarks) -> float:
        """CPU seconds of a frame, without encoding."""
        began = time.process_time()
        for _ in marks.drawn_on(self.layout.pictures(iter(self.planes), own=marks.draws)):
            pass
        return (time.process_time() - began) / FRAMES

    def encoded(self, path, marks: ClipMarks) -> float:
        """CPU seconds of a frame in a file, those of all threads."""
        sound = torch.zeros(2, self.delivery.num_samples)
        began = time.process_time()
        pictures = marks.drawn_on(self.layout.pictures(iter(self.planes), own=marks.draws))
        write_mp4(path, pictures, lambda: sound, self.delivery, X264, marks.tags)
        return (time.process_time() - began) / FRAMES


def test_marking_costs_less_than_a_hundredth_of_the_service_time(tmp_path, keep_proof):
    cost = H100.cost_model(ServedModel(preset("15b"), ladder=LADDER))
    result = {}
    for tier in Resolution:
        one = Tier(tier)
        marks = marks_of(MARKING, "id", one.delivery, "", None)
        rounds = [
            (one.drawn(UNMARKED_CLIP), one.drawn(marks), one.encoded(tmp_path / "a.mp4", UNMARKED_CLIP))
            for _ in range(ROUNDS)
        ]
        plain, marked, encoded = (min(column) for column in zip(*rounds, strict=True))
        service = cost.gpu_seconds(one.geometry) / (25 * one.geometry.duration)
        result[tier.value] = {
            "marking_ms_a_frame": 1e3 * (marked - plain),
            "encoding_ms_a_frame": 1e3 * encoded,
            "share_of_encoding": (marked - plain) / encoded,
            "predicted_service_ms_a_frame_one_h100": 1e3 * service,
            "share_of_service": (marked - plain) / service,
        }
    keep_proof("marking_cost", {"marks": MARKING.written, "frames": FRAMES, "best_of": ROUNDS, "tiers": result})
    assert max(one["share_of_service"] for one in result.values()) < 0.01
    assert max(one["share_of_encoding"] for one in result.values()) < 0.1
