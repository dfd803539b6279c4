"""Everything one rank loads, placed as the memory plan says: transformers, text encoder, codecs.

The plan is made before anything is loaded. Components that it swaps take turns on the device: asking for one sends the
others away, and it stays until another swapped one is asked for, so that consecutive steps cost nothing. Whoever keeps
a component must ask for it again before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import psutil
import torch
from torch import nn

from engine.attention import attention_kernel
from engine.checkpoint.capabilities import SPRITE, STAND_INS, read_codecs
from engine.codecs.additive import AdditiveAudioCodec
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.base import AudioCodec, SoundEncoder, SourceVideoEncoder, TextEncoder, VideoCodec
from engine.codecs.bytewise import BytewiseTextEncoder
from engine.codecs.t5gemma import T5GemmaTextEncoder
from engine.denoiser import Denoiser
from engine.embedded.release_codecs import load_sprite_codec
from engine.machine_memory import card, require_host_memory
from engine.model.dit import AudioVideoTransformer
from engine.part_loader import SOUND, TEXT, TURBO, VIDEO, PartLoader
from engine.placement import Offloaded, Placement, Resident, Swapped
from engine.scaled_product import why_not_scaled
from engine.stages import local_rule, stage_sampler, stage_style
from engine.video_experts import keep_video_experts
from engine.weights import EIGHT_BIT, arithmetic
from hhray.errors import ConfigError, EngineFault
from hhray.geometry import Resolution
from hhray.memory_parts import Component, Demand, MemoryPlan, Place, Stage
from hhray.memory_plan import plan_memory
from hhray.memory_size import Format
from hhray.parallel_layout import ParallelLayout
from hhray.served_model import ServedModel
from hhray.video_only import video_only_plan, video_only_ranks

NAMES_OF = {"text": (TEXT,), "video": (VIDEO, TURBO), "sound": (SOUND,)}


class SoundCodec(AudioCodec, SoundEncoder, Protocol):
    """Sound to latents and back."""


class Components:
    """Call `load` once; then ask for what is needed next.

    Args:
        served: what is served.
        folder: the release; None: random weights and stand-ins.
        device: of this rank.
        ranks: GPUs that share a clip.
        tiers: offered; `max_seconds` is the longest clip of them.
        decoder: "turbo" or "wan".
        plan: to be obeyed instead of one made for the device.
        layout: how `ranks` ranks share a clip; None: in the way that moves least.
        video_only: whether ranks that hold video only do without the other experts (hhray.video_only).
        precision: of the transformers' linears; None: what fits best.
        attention_precision: plain, or int8: attention may round queries and keys to 8 bits.

    Raises:
        ConfigError: what is served does not fit the device; the message names the smallest change that would. Or the
            layout does not fit the ranks or the heads; or a checkpoint trained on references or edits is to run on
            ranks that hold video only.
    """

    def __init__(
        self,
        served: ServedModel,
        folder: Path | None,
        device: torch.device,
        *,
        ranks: int = 1,
        tiers: tuple[Resolution, ...],
        max_seconds: int,
        decoder: str = "turbo",
        plan: MemoryPlan | None = None,
        layout: ParallelLayout | None = None,
        video_only: bool = False,
        precision: Format | None = None,
        attention_precision: str = "plain",
    ) -> None:
        self.served, self.folder, self.device, self.decoder = served, folder, device, decoder
        self._ranks, self._layout = ranks, layout
        self._kernel = attention_kernel(attention_precision)
        self.codecs = read_codecs(folder) if folder else dict(STAND_INS)
        small, share = frozenset(self.codecs), served.native_share
        int8 = attention_precision == "int8"
        what = served.size, tiers, max_seconds, ranks, served.ladder, decoder, small, share, layout, precision, int8
        demand = Demand(*what)
        self.plan = plan or plan_memory(card(device), demand)
        self._video_only_ranks = _video_only_ranks(served, demand) if video_only else 0
        eight_bit = any(item.format in EIGHT_BIT for item in self.plan.components)
        self._not_scaled = why_not_scaled(device) if eight_bit else ""
        self._loader = PartLoader(served, folder, self.plan.chunked_mlp, scaled=not self._not_scaled)
        self.placements: dict[str, Placement] = {}
        self._parts: dict[str, object] = {}

    def load(self, rank: int, *, decodes: bool = True) -> None:
        """Load what the plan names; rank 0 shows bars. `decodes`: whether the video decoder too.

        Raises:
            ConfigError: a part is absent, damaged, or does not fit the others; or the host is too small for the plan.
        """
        if self.device.type == "cuda":
            require_host_memory(self.plan, self._ranks, psutil.virtual_memory().total)
        # placements exchange tensors, which those made in inference mode do not allow
        video_only = rank < self._video_only_ranks
        if video_only:
            self.plan = video_only_plan(self.plan, self.served.size)
        with torch.inference_mode(False), torch.no_grad():
            self._load_small()
            for item in self.plan.components:
                if item.name != TURBO or decodes:
                    self._load(item, rank == 0, video_only)
        if decodes and self.decoder == "wan":
            self._parts.setdefault(TURBO, self._parts[VIDEO])

    @property
    def arithmetic(self) -> str:
        """What the transformers' linears compute in, and if float8 weights are expanded, why."""
        return arithmetic(self.placements[Stage.BASE].module, self._not_scaled)

    def transformer(self, stage: Stage) -> AudioVideoTransformer:
        """The network of a stage, on the device."""
        return cast(AudioVideoTransformer, self._ask(stage))

    @property
    def transformers(self) -> list[AudioVideoTransformer]:
        """All that were loaded, wherever they are now."""
        return [part for part in self._parts.values() if isinstance(part, AudioVideoTransformer)]

    def denoiser(self, stage: Stage, rank: int, world_size: int) -> Denoiser:
        """The network of a stage with its sampler, positions and local layers."""
        model = self.transformer(stage)
        sampler, rule = stage_sampler(stage, self.served), local_rule(stage, self.served.size.num_layers)
        clean = self.served.predicts_clean and stage is Stage.BASE
        style = stage_style(stage)
        place, kernel = (model, sampler, rank, world_size), self._kernel
        return Denoiser(*place, style, rule, predicts_clean=clean, layout=self._layout, kernel=kernel)

    @property
    def text(self) -> TextEncoder:
        return cast(TextEncoder, self._ask(TEXT))

    @property
    def video_encoder(self) -> SourceVideoEncoder:
        return cast(SourceVideoEncoder, self._ask(VIDEO))

    @property
    def video_decoder(self) -> VideoCodec:
        """Its `decode` only is meant; there is one on ranks that decode."""
        return cast(VideoCodec, self._ask(TURBO if self.decoder == "turbo" else VIDEO, TURBO))

    @property
    def sound(self) -> SoundCodec:
        return cast(SoundCodec, self._ask(SOUND))

    def _ask(self, name: str, part: str = "") -> object:
        if (part or name) not in self._parts:
            raise EngineFault(f"this rank has no {name}; it has {', '.join(self._parts) or 'loaded nothing'}")
        placement = self.placements.get(name)
        if placement and placement.place in (Place.SWAPPED, Place.OFFLOADED):
            for other in self.placements.values():
                if other is not placement:
                    other.leave()
            placement.enter()
        return self._parts[part or name]

    def _load_small(self) -> None:
        """The codecs that take the place of components: they stay on the CPU, and no plan names them."""
        for kind in self.codecs:
            codec = self._small(kind)
            self._parts |= dict.fromkeys(NAMES_OF[kind], codec)

    def _small(self, kind: str) -> object:
        channels = self.served.size.text_channels
        if self.folder and self.codecs[kind] == SPRITE:
            return load_sprite_codec(kind, self.folder, channels)
        if kind == "text":
            return BytewiseTextEncoder(channels)
        return AveragingVideoCodec() if kind == "video" else AdditiveAudioCodec()

    def _load(self, item: Component, shown: bool, video_only: bool) -> None:
        if item.name in self._parts:
            return  # a given plan may name what is stood in for
        first = self.device if item.place is Place.RESIDENT else torch.device("cpu")
        part, module = self._loader.make(item, first, shown, self._parts.get(VIDEO))
        if video_only and isinstance(part, AudioVideoTransformer):
            keep_video_experts(part)
        self._parts[item.name] = part
        self.placements[item.name] = self._placed(item, part, module)

    def _placed(self, item: Component, part: object, module: nn.Module) -> Placement:
        if item.place is Place.SWAPPED:
            return Swapped(module, self.device)
        if item.place is Place.OFFLOADED:
            if isinstance(part, AudioVideoTransformer):
                return Offloaded(module, part.block.layers, _outside(part), self.device, again=True)
            if isinstance(part, T5GemmaTextEncoder):
                return Offloaded(module, part.layers, (part.head,), self.device)
            raise ConfigError(f"the plan offloads {item.name}, which has no layers that could be")
        return Resident(module, torch.device("cpu") if item.place is Place.HOST else self.device, item.place)


def _video_only_ranks(served: ServedModel, demand: Demand) -> int:
    if served.capabilities.r2v or served.capabilities.edit:
        raise ConfigError(
            "this checkpoint was trained on references or edits, whose tokens follow the text, so that any rank may "
            "hold text; set engine.video_only_ranks to false"
        )
    return video_only_ranks(demand)


def _outside(model: AudioVideoTransformer) -> list[nn.Module]:
    """What a transformer has beside its layers."""
    return [part for part in model.children() if part is not model.block]
