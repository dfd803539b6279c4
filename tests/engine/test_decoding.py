"""Windows of a clip decoded by several real ranks: the same bytes as by one."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decode_cases import CASES, Decoders, decoding, turbo
from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.turbo import TurboConfig, windows
from engine.codecs.window import deal
from engine.exchange import GroupLink
from engine.frame_buffer import FrameBuffer
from hhray.errors import EngineFault


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As the ranks have: with another number of threads sums may be taken in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone():
    """Every case by one rank: its frames and its sound."""
    results = {}
    for name, case in CASES.items():
        one = decoding(case, Decoders(case.codec()), GroupLink())
        one.run()
        results[name] = one, one.frames.pixels, one.sound.result()
    return results


@pytest.mark.parametrize("num_ranks", range(1, 9))
@pytest.mark.parametrize("num_latents", [1, 8, 32, 94])
def test_windows_are_dealt_once_each_in_order_and_evenly(num_latents, num_ranks):
    parts = windows(num_latents, TurboConfig())
    turns = deal(parts, num_ranks)
    assert [window for turn in turns for window in turn] == list(parts)
    assert all(len(turn) == num_ranks for turn in turns[:-1])
    assert len(turns) == -(-len(parts) // num_ranks)


@pytest.mark.parametrize("name", CASES)
def test_one_rank_holds_what_the_codec_decodes(alone, name):
    made, pixels, (sound, rate) = alone[name]
    case, latents = CASES[name], made._video
    assert torch.equal(pixels, made.layout.laid_out(case.codec().decode(latents)))
    assert made.layout.planar == (name != "enlarged")
    assert (tuple(sound.shape), rate) == (((2, 100), 48_000) if case.keeps_sound else ((2, 7 * 2048), 51_200))


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_any_number_of_ranks_gives_the_same_bytes(decode_gang, alone, name, num_ranks):
    _, pixels, (sound, _) = alone[name]
    results = decode_gang(num_ranks)
    assert torch.equal(results[0].tensors[f"{name}.frames"], pixels)
    assert torch.equal(results[0].tensors[f"{name}.sound"], sound)
    assert all(result.tensors == {} for result in results[1:])


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_ranks_share_the_windows_and_send_their_bytes_only(decode_gang, alone, name, num_ranks):
    made, _, _ = alone[name]
    facts = [result.facts[name] for result in decode_gang(num_ranks)]
    codec = CASES[name].codec()
    parts = codec.windows(CASES[name].num_latents) if hasattr(codec, "windows") else ()
    frame_bytes = torch.Size(made.layout.frame_shape).numel()
    for rank, fact in enumerate(facts):
        own = parts[rank::num_ranks]
        makes_sound = rank == num_ranks - 1 and not CASES[name].keeps_sound
        assert fact["windows"] == [window.first_frame for window in own]
        assert fact["sounds"] == makes_sound
        pixels = sum(window.num_frames for window in own) * frame_bytes
        assert fact["sent"] == (pixels + makes_sound * 4 * 2 * 7 * 2048 if rank else 0)


class LargestFloat32(TorchDispatchMode):
    """Notes the most numbers of a float32 tensor that any operation gives."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor) and one.dtype is torch.float32:
                self.largest = max(self.largest, one.numel())
        return result


def test_no_activation_of_a_bfloat16_decoder_becomes_float32():
    codec, latents = turbo(torch.bfloat16), torch.randn(48, 9, 2, 4, generator=torch.Generator().manual_seed(4))
    window = codec.windows(9)[1]
    with LargestFloat32() as noted:
        codec.decode_window(latents, window)
    frame = 3 * 32 * 64
    statistics = 4 * (window.stop - window.start) * 16 * 32  # one number for all channels of a place
    assert noted.largest <= max(frame, statistics)
    assert noted.largest >= frame, "frames are quantised in float32, one at a time"


def test_bfloat16_frames_are_near_those_of_float32():
    latents = torch.randn(48, 9, 4, 6, generator=torch.Generator().manual_seed(4))
    rough, exact = (turbo(dtype).decode(latents).int() for dtype in (torch.bfloat16, torch.float32))
    assert exact.float().std() > 4
    assert (rough - exact).abs().float().mean() < 1
    assert (rough - exact).abs().max() <= 8


def test_the_stand_ins_windows_are_whole_clips_cut():
    codec, latents = AveragingVideoCodec(), torch.randn(48, 11, 2, 4, generator=torch.Generator().manual_seed(1))
    parts = codec.windows(11)
    assert [(part.start, part.stop, part.first_frame, part.num_frames) for part in parts] == [
        (0, 5, 0, 16),
        (4, 9, 16, 16),
        (8, 11, 32, 9),
    ]
    whole = codec.decode(latents)
    for part in parts:
        outside = latents.clone()
        outside[:, : part.start] = outside[:, part.stop :] = 9
        cut = whole[part.first_frame : part.first_frame + part.num_frames]
        assert torch.equal(codec.decode_window(outside, part), cut)


def test_frames_that_do_not_fit_the_buffer_are_refused():
    buffer = FrameBuffer(3, (4, 2))
    buffer.put(torch.ones(2, 4, 2, dtype=torch.uint8))
    assert buffer.frame(1).unique().tolist() == [1]
    for shape in ((2, 4, 2), (1, 2, 4)):
        with pytest.raises(EngineFault, match="do not fit"):
            buffer.put(torch.ones(shape, dtype=torch.uint8))
    buffer.fail(RuntimeError("gone"))
    with pytest.raises(EngineFault, match="frame 2 was not decoded: gone"):
        buffer.frame(2)


def test_a_clip_in_memory_is_of_rgb_frames(alone):
    made, _, _ = alone["turbo"]
    with pytest.raises(EngineFault, match="RGB"):
        made.clip()
