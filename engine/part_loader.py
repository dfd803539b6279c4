"""Reads one component of a release, or makes its random weights, in the format and where the plan says."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn

from engine.arranged import arrange_linears
from engine.checkpoint.names import Part, find_release
from engine.chunked_mlp import chunk_mlps
from engine.codecs.base import VideoEncoder
from engine.codecs.local_component import hide_bars
from engine.codecs.oobleck import OobleckAudioCodec
from engine.codecs.t5gemma import T5GemmaTextEncoder
from engine.codecs.turbo import TurboVideoCodec, load_turbo
from engine.codecs.wan import WanVideoCodec
from engine.model.dit import AudioVideoTransformer
from engine.weights import EIGHT_BIT, FLOAT_DTYPES, build_model, load_model, quantise_linears
from hhray.errors import ConfigError
from hhray.memory_parts import TRANSFORMER_STAGES, Component, Stage
from hhray.served_model import ServedModel

# names of components in a plan, beside those of the transformers' stages
TEXT, VIDEO, TURBO, SOUND = "text encoder", "video VAE", "Turbo VAE", "audio VAE"


class PartLoader:
    """Loads components of what is served, from `folder`; without one only transformers, with random weights."""

    def __init__(self, served: ServedModel, folder: Path | None, chunked_mlp: bool, scaled: bool = False) -> None:
        """`chunked_mlp`: the MLP takes some thousand tokens at a time; `scaled`: float8 weights are not expanded."""
        self._served, self._folder, self._chunked_mlp, self._scaled = served, folder, chunked_mlp, scaled

    def make(
        self, item: Component, device: torch.device, shown: bool, encoder: object = None
    ) -> tuple[object, nn.Module]:
        """The component as callers use it, and the network whose weights are placed.

        Args:
            item: of the plan.
            device: where to load to.
            shown: whether a bar shows how far it is.
            encoder: the video encoder that a Turbo decoder borrows.

        Raises:
            ConfigError: its files are absent, damaged, or do not fit the transformer.
        """
        dtype = FLOAT_DTYPES.get(item.format, torch.bfloat16)  # what 8-bit encoders compute in
        if item.name in TRANSFORMER_STAGES:
            model = self._transformer(item, device, shown)
            return model, model
        if not shown:
            hide_bars("transformers" if item.name == TEXT else "diffusers")
        if item.name == TEXT:
            return self._text(item, device, dtype)
        if item.name == TURBO:
            decoder = load_turbo(self._component("turbo_vae"), device=device, dtype=dtype)
            return TurboVideoCodec(decoder, cast(VideoEncoder, encoder)), decoder
        if item.name == VIDEO:
            video = WanVideoCodec.load(self._component("video_vae"), device, dtype)
            return video, video.module
        if item.name == SOUND:
            sound = OobleckAudioCodec.load(self._component("audio_vae"), device, dtype)
            return sound, sound.module
        raise ConfigError(f"the plan names a component {item.name!r}, which is not known here")

    def _transformer(self, item: Component, device: torch.device, shown: bool) -> AudioVideoTransformer:
        size = self._served.size
        if self._folder is None:
            model = build_model(size, device, item.format)
            if item.format in EIGHT_BIT:
                quantise_linears(model, item.format, self._scaled)
        else:
            base = Part.BASE if self._served.guided else Part.DISTILL
            part = base if item.stage is Stage.BASE else Part(item.name)
            model = load_model(size, find_release(self._folder).folder(part), device, item.format, shown, self._scaled)
        arrange_linears(model)
        if self._chunked_mlp:
            chunk_mlps(model)
        return model

    def _text(self, item: Component, device: torch.device, dtype: torch.dtype) -> tuple[object, nn.Module]:
        folder = self._component("text")
        eight_bit = item.format if item.format in EIGHT_BIT else None
        encoder = T5GemmaTextEncoder.load(folder, device, dtype, eight_bit)
        if encoder.channels != self._served.size.text_channels:
            raise ConfigError(
                f"the text encoder in {folder} gives {encoder.channels} channels, "
                f"and the network takes {self._served.size.text_channels}"
            )
        return encoder, encoder.module

    def _component(self, name: str) -> Path:
        if self._folder is None:
            raise ConfigError(f"without a folder of weights there is no {name}")
        return self._folder / name
