"""The decode of a clip by all ranks of its block: windows of video are dealt to them, sound is made beside.

Frames reach the block's rank 0 as bytes, laid out as the encoder takes them, by the exchange that attention uses: no
pickle, and no communicator beside the block's own. They are the same bytes however many ranks there are, because a
window's frames depend on its latents only and nothing is blended. Codecs without windows decode on rank 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import torch
from torch import Tensor

from engine.clip import Clip
from engine.codecs.base import SAMPLES_PER_LATENT, SOUND_RATE, AudioCodec, VideoCodec, WindowedDecoder
from engine.codecs.window import Window, deal
from engine.delivery import Delivery
from engine.exchange import Link
from engine.frame_buffer import FrameBuffer
from engine.pixels import PixelLayout
from hhray.errors import EngineFault
from hhray.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, Size

STEREO = 2
Sound = tuple[Tensor, int]


class Decoders(Protocol):
    """What a rank decodes with; asked for when they are used, since one may send the other from the device."""

    device: torch.device

    @property
    def video_decoder(self) -> VideoCodec: ...

    @property
    def sound(self) -> AudioCodec: ...


class ClipDecoding:
    """One finished clip on its way to pixels: every rank of the block makes one, then all call `run` once.

    Args:
        latents: video float32 [48, T, h, w] and audio float32 [A, 64]; the same on every rank.
        track: sound that is delivered instead of decoded sound, stereo [2, N] and its rate.
        delivery: what is delivered.
        notice: what the client is told of it.
        decoders: of this rank.
        link: to the block's other ranks.
        rgb: frames stay RGB, whatever the encoder would take.

    Attributes:
        layout: of the frames.
        frames: on rank 0 the frames, as they come; None elsewhere.
        sound: on rank 0 the sound and its rate, once they are there.
    """

    def __init__(
        self,
        latents: tuple[Tensor, Tensor],
        track: Sound | None,
        delivery: Delivery,
        notice: str,
        decoders: Decoders,
        link: Link,
        rgb: bool = False,
    ) -> None:
        self._video, self._audio = latents
        self._track, self._decoders, self._link = track, decoders, link
        self.delivery, self.notice = delivery, notice
        _, num_latents, height, width = self._video.shape
        decoded = Size(width * SPATIAL_STRIDE, height * SPATIAL_STRIDE)
        planned = PixelLayout.of_clip(decoded, delivery.size)
        self.layout = PixelLayout(decoded, delivery.size, planned.planar and not rgb)
        self.frames: FrameBuffer | None = None
        self.sound: Future[Sound] = Future()
        if link.rank == 0:
            num_frames = TEMPORAL_STRIDE * (num_latents - 1) + 1
            pinned = decoders.device.type == "cuda" and not rgb  # what a caller may keep for long is not pinned
            self.frames = FrameBuffer(num_frames, self.layout.frame_shape, pinned)

    @torch.inference_mode()
    def run(self) -> None:
        """Decode; all ranks of the block at the same time. Who waits for frames or sound is told of a failure."""
        try:
            turns = self._turns()
            for turn in turns[:-1]:
                self._gather(turn, self._decode_part(turn))
            made = self._decode_part(turns[-1])
            # The last rank makes the sound, before it waits for the last windows: it is the first to have none of them.
            sound = self._decoders.sound.decode(self._audio.T) if self._makes_sound else None
            self._gather(turns[-1], made)
            self._bring_sound(sound)
        except BaseException as error:
            self.fail(error)
            raise

    def fail(self, reason: BaseException) -> None:
        """Whoever waits for frames or sound is told that they will not come."""
        if not self.sound.done():
            self.sound.set_exception(reason)
        if self.frames is not None:
            self.frames.fail(reason)

    def clip(self) -> Clip:
        """Rank 0, after `run`: the clip.

        Raises:
            EngineFault: elsewhere, or where frames are not RGB.
        """
        if self.frames is None or self.layout.planar:
            raise EngineFault("a clip in memory is asked of rank 0, and of RGB frames; this is a fault of the caller")
        self.frames.frame(len(self.frames.pixels) - 1)  # copies from a device may be under way
        (sound, rate), what = self.sound.result(), self.delivery
        return Clip(
            decoded=self.frames.pixels,
            sound=sound,
            sound_rate=rate,
            size=what.size,
            num_frames=what.num_frames,
            frames_per_second=what.frames_per_second,
            sample_rate=what.sample_rate,
            notice=self.notice,
        )

    @property
    def _makes_sound(self) -> bool:
        return self._track is None and self._link.rank == self._link.world_size - 1

    def _turns(self) -> tuple[tuple[Window, ...], ...]:
        """Windows of the block's ranks; a codec without any decodes all of the clip as the one of rank 0."""
        decoder, num_latents = self._decoders.video_decoder, self._video.shape[1]
        if isinstance(decoder, WindowedDecoder):
            return deal(decoder.windows(num_latents), self._link.world_size)
        return ((Window(0, num_latents, 0, 0, TEMPORAL_STRIDE * (num_latents - 1) + 1),),)

    def _decode_part(self, turn: Sequence[Window]) -> Tensor:
        """This rank's window of a turn as bytes on its device, uint8 [n, *frame_shape], or [0, *frame_shape]."""
        if self._link.rank >= len(turn):
            return torch.empty((0, *self.layout.frame_shape), dtype=torch.uint8, device=self._decoders.device)
        decoder, window = self._decoders.video_decoder, turn[self._link.rank]
        if isinstance(decoder, WindowedDecoder):
            made = self.layout.laid_out(decoder.decode_window(self._video, window))
        else:
            made = self.layout.laid_out(decoder.decode(self._video))
        if self.frames is not None:
            self.frames.put(made)
        return made.to(self._decoders.device)

    def _gather(self, turn: Sequence[Window], made: Tensor) -> None:
        """The windows of the other ranks come to rank 0."""
        if len(turn) > 1:
            rows = [0, *(window.num_frames for window in turn[1:]), *[0] * (self._link.world_size - len(turn))]
            received = made[:0] if self.frames is None else self.frames.room(sum(rows), made.device)
            self._to_first(received, made, rows)
            if self.frames is not None:
                self.frames.put(received)

    def _bring_sound(self, made: Tensor | None) -> None:
        """The sound of the last rank, or the clip's own track, is where rank 0's file waits for it."""
        link, device = self._link, self._decoders.device
        if self._track is not None:
            self.sound.set_result(self._track)
            return
        shape = STEREO, len(self._audio) * SAMPLES_PER_LATENT
        sound = torch.empty(shape) if made is None else made
        if link.world_size > 1:
            received = torch.empty((1, *shape) if link.rank == 0 else (0, *shape), device=device)
            self._to_first(received, sound[None].to(device), [0] * (link.world_size - 1) + [1])
            sound = received[0].cpu() if link.rank == 0 else sound
        self.sound.set_result((sound, SOUND_RATE))

    def _to_first(self, received: Tensor, sent: Tensor, rows: list[int]) -> None:
        """`rows[r]` of rank r's `sent` go to rank 0, into `received` in the ranks' order; rank 0 sends none."""
        link, nothing = self._link, [0] * self._link.world_size
        if link.rank == 0:
            link.all_to_all(received, sent[:0], rows, nothing)
        else:
            own = rows[link.rank]
            link.all_to_all(received[:0], sent[:own], nothing, [own, *nothing[1:]])
