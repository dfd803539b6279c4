"""Windows, lengths and files of the Turbo decoder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from engine.codecs.averaging import AveragingVideoCodec
from engine.codecs.turbo import (
    TurboConfig,
    TurboDecoder,
    TurboVideoCodec,
    decode,
    decode_window,
    load_turbo,
    to_frames,
    windows,
)
from hhray.errors import ConfigError

TINY = {"decoder_block_out_channels": (4, 4, 6, 8), "decoder_layers_per_block": (1, 1, 1, 1, 1)}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(**changes):
    torch.manual_seed(0)
    return TurboDecoder(TurboConfig(**{**TINY, **changes})).requires_grad_(False)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("first", "step"), [(7, 7), (3, 2), (1, 1), (2, 5)])
def test_windows_cover_every_frame_once_for_all_lengths(first, step):
    config = TurboConfig(first_chunk_size=first, step_size=step)
    for num_latents in range(1, 41):
        parts = windows(num_latents, config)
        kept = [frame for part in parts for frame in range(part.first_frame, part.first_frame + part.num_frames)]
        assert kept == list(range(4 * (num_latents - 1) + 1))
        assert [part.is_first for part in parts] == [index == 0 for index in range(len(parts))]
        for part in parts:
            made = 4 * (part.stop - part.start) - 3 * part.is_first
            assert part.skip + part.num_frames <= made
            assert part.stop - part.start <= max(first + 1, step + 2)


def test_the_windows_of_five_and_fifteen_seconds():
    assert [len(windows(num_latents, TurboConfig())) for num_latents in (1, 7, 8, 32, 94)] == [1, 1, 2, 5, 14]
    assert [(part.start, part.stop, part.skip, part.num_frames) for part in windows(16, TurboConfig())] == [
        (0, 8, 0, 25),
        (6, 15, 4, 28),
        (13, 21, 4, 8),
    ]


def test_decoded_lengths_for_1_to_40_latent_frames():
    decoder = tiny()
    for num_latents in range(1, 41):
        assert decode(decoder, noise(48, num_latents, 1, 1)).shape == (3, 4 * (num_latents - 1) + 1, 16, 16)


def test_windows_decoded_apart_and_out_of_order_equal_the_sequence():
    decoder, z = tiny(first_chunk_size=3, step_size=2), noise(48, 10, 2, 3)
    parts = windows(10, decoder.config)
    apart = {part.first_frame: decode_window(decoder, z, part) for part in reversed(parts)}
    assert len(parts) == 5
    assert torch.equal(torch.cat([apart[begin] for begin in sorted(apart)], dim=1), decode(decoder, z))


def test_a_window_depends_on_its_own_latents_only():
    decoder, z = tiny(first_chunk_size=3, step_size=2), noise(48, 10, 2, 3)
    window = windows(10, decoder.config)[1]
    inside, outside = z.clone(), z.clone()
    outside[:, : window.start] = outside[:, window.stop :] = 5
    inside[:, window.stop - 1] = 5
    recorded = decode_window(decoder, z, window)
    assert torch.equal(decode_window(decoder, outside, window), recorded)
    assert not torch.equal(decode_window(decoder, inside, window), recorded)


def test_frames_are_cut_off_not_rounded():
    video = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).expand(3, 2, 1, 6)
    frames = to_frames(video)
    assert frames.shape == (2, 1, 6, 3)
    assert frames.dtype is torch.uint8
    assert frames[1, 0, :, 2].tolist() == [0, 0, 127, 254, 255, 255]


def test_the_codec_decodes_as_frames_and_borrows_its_encoder():
    decoder, encoder, z = tiny(), AveragingVideoCodec(), noise(48, 9, 1, 2)
    codec = TurboVideoCodec(decoder, encoder)
    assert torch.equal(codec.decode(z), to_frames(decode(decoder, z)))
    picture = noise(3, 32, 32)
    assert torch.equal(codec.encode(picture), encoder.encode(picture))


def test_bfloat16_stays_bfloat16_and_near():
    z = noise(48, 2, 2, 2)
    exact = decode(tiny(), z)
    decoder = tiny().to(torch.bfloat16)
    rough = decode_window(decoder, z, windows(2, decoder.config)[0])
    assert rough.dtype is torch.bfloat16
    assert (rough.float() - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decoder_spatio_only": [False, True, False]}, "4 flags"),
        ({"decoder_layers_per_block": [1, 1, 1, 1]}, "5 values"),
        ({"decoder_spatio_only": [False, False, False, False]}, "enlarge"),
        ({"latent_channels": 16}, "latent_channels 48"),
        ({"first_chunk_size": 0}, "1 or more"),
        ({"step_size": "seven"}, "wrong type"),
        ({"decoder_block_out_channels": None}, "wrong type"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, change, words):
    config = {
        "decoder_block_out_channels": [4, 4, 6, 8],
        "decoder_layers_per_block": [1, 1, 1, 1, 1],
        "decoder_spatio_temporal_scaling": [False, True, True, True],
        "decoder_spatio_only": [False, True, False, False],
    }
    path = tmp_path / "turbo.json"
    path.write_text(json.dumps(config))
    assert TurboConfig.from_json(path) == TurboConfig(**TINY)
    path.write_text(json.dumps(config | change))
    with pytest.raises(ConfigError, match=words):
        TurboConfig.from_json(path)


def test_files_that_cannot_be_used_are_named(tmp_path):
    config, weights = tmp_path / "TurboV3-a.json", tmp_path / "checkpoint-1.ckpt"
    with pytest.raises(ConfigError, match=r"TurboV3-\*\.json"):
        load_turbo(tmp_path)
    config.write_text('{"encoder": 1}')
    torch.save({"weights": {}}, weights)
    with pytest.raises(ConfigError, match="lacks decoder_block_out_channels"):
        load_turbo(tmp_path)
    config.write_text(json.dumps(TINY | {"decoder_spatio_temporal_scaling": [False, True, True, True]}))
    with pytest.raises(ConfigError, match="ema_state_dict"):
        load_turbo(tmp_path)
    weights.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_turbo(tmp_path)
    with pytest.raises(ConfigError, match="no Turbo weights"):
        load_turbo(config, tmp_path / "absent.safetensors")
    (tmp_path / "checkpoint-2.ckpt").write_bytes(b"")
    with pytest.raises(ConfigError, match="2 files"):
        load_turbo(tmp_path)


def test_all_tensors_at_fault_are_listed_at_once(tmp_path):
    config, weights = tmp_path / "turbo.json", tmp_path / "turbo.safetensors"
    config.write_text(json.dumps(TINY | {"decoder_spatio_temporal_scaling": [False, True, True, True]}))
    state = {name: tensor.clone() for name, tensor in tiny().state_dict().items()}
    state["decoder.extra"] = state.pop("decoder.conv_in.conv.bias")
    state["decoder.conv_out.conv.bias"] = torch.zeros(5)
    save_file(state, weights)
    with pytest.raises(ConfigError) as refusal:
        load_turbo(config, weights)
    for words in ("conv_in.conv.bias is missing", "extra is unexpected", r"conv_out.conv.bias is [5] instead of [12]"):
        assert words in refusal.value.message


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "config.json").write_text(
        json.dumps(TINY | {"decoder_spatio_temporal_scaling": [False, True, True, True]})
    )
    torch.save({"ema_state_dict": {"module.x": Trap()}}, tmp_path / "checkpoint-1.ckpt")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_turbo(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_codec_modules_bring_no_heavy_library_along():
    modules = "turbo, wan, oobleck, t5gemma"
    script = (
        f"import sys; from engine.codecs import {modules}; print({{'diffusers', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
