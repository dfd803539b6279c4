"""Wan and Oobleck: tiny random configurations of the real diffusers classes, saved and loaded through our codecs."""

from __future__ import annotations

import json
import math
import socket
import sys
import warnings

import pytest
import torch

from engine.codecs.latent_scale import MEAN, STD, denormalise, normalise
from engine.codecs.oobleck import OVERLAP_LATENTS, WINDOW_LATENTS, OobleckAudioCodec, cross_faded, window_starts
from engine.codecs.turbo import to_frames
from engine.codecs.wan import WanVideoCodec
from engine.resample import resample
from hhray.errors import ConfigError, MediaError

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'hhray[codecs]'")

WAN = {
    "base_dim": 4,
    "decoder_base_dim": 4,
    "z_dim": 48,
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
OOBLECK = {"encoder_hidden_size": 128, "channel_multiples": [1, 1, 1, 1, 1], "decoder_channels": 2}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are small: on a busy machine several threads wait for each other longer than one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def build(name, **options):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        return getattr(diffusers, name)(**options).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    build("AutoencoderKLWan", **WAN).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def oobleck_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oobleck")
    build("AutoencoderOobleck", **OOBLECK).save_pretrained(folder)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a codec asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_libraries_build_the_published_networks():
    with torch.device("meta"):
        wan = build("AutoencoderKLWan", **{**WAN, "base_dim": 160, "decoder_base_dim": 256, "num_res_blocks": 2})
        oobleck = build("AutoencoderOobleck")
    sizes = [sum(weight.numel() for weight in network.parameters()) for network in (wan, oobleck)]
    assert sizes == [704_688_668, 156_112_514]


def test_the_published_statistics_are_48_and_invert():
    assert (len(MEAN), len(STD)) == (48, 48)
    assert (sum(MEAN), sum(STD)) == pytest.approx((-0.5589, 32.5360), abs=5e-5)
    mu = noise(48, 2, 3, 4)
    assert normalise(mu)[0, 0, 0, 0].item() == pytest.approx((mu[0, 0, 0, 0].item() + 0.2289) / 0.4765, rel=1e-6)
    torch.testing.assert_close(denormalise(normalise(mu)), mu)


def test_wan_latents_are_the_normalised_posterior_mean(wan_folder, no_network):
    codec, vae = WanVideoCodec.load(wan_folder), build("AutoencoderKLWan", **WAN)
    video = noise(3, 9, 64, 96).clamp(-1, 1)
    latent = codec.encode_video(video)
    assert latent.shape == (48, 3, 4, 6)
    assert latent.dtype is torch.float32
    expected = vae.encode(video[None]).latent_dist.mean[0]
    torch.testing.assert_close(latent, normalise(expected))
    torch.testing.assert_close(codec.encode(video[:, 0]), latent[:, :1], atol=1e-4, rtol=1e-4)


def test_wan_frames_have_the_strides_of_the_geometry(wan_folder):
    codec, vae = WanVideoCodec.load(wan_folder), build("AutoencoderKLWan", **WAN)
    for num_latents in (1, 2, 4):
        latent = noise(48, num_latents, 2, 3)
        frames = codec.decode(latent)
        assert frames.shape == (4 * (num_latents - 1) + 1, 32, 48, 3)
        assert torch.equal(frames, to_frames(vae.decode(denormalise(latent)[None]).sample[0]))


def test_a_first_frame_comes_back_within_the_codecs_own_error(wan_folder):
    """A clip that holds the picture's latent begins with what the codec makes of the picture alone, to rounding."""
    codec, vae = WanVideoCodec.load(wan_folder), build("AutoencoderKLWan", **WAN)
    picture = noise(3, 32, 48).clamp(-1, 1)
    latent = torch.cat([codec.encode(picture), noise(48, 2, 2, 3)], dim=1)
    alone = to_frames(vae.decode(vae.encode(picture[None, :, None]).latent_dist.mean).sample[0])[0].int()
    own_error = (alone - to_frames(picture[:, None])[0].int()).abs().max()
    first = codec.decode(latent)[0].int()
    assert (first - alone).abs().max() <= 1
    assert (first - to_frames(picture[:, None])[0].int()).abs().max() <= own_error + 1


def test_oobleck_decodes_2048_samples_a_latent(oobleck_folder, no_network):
    codec = OobleckAudioCodec.load(oobleck_folder)
    for num_latents in (1, 26):
        latent = 3 * noise(64, num_latents)
        sound = codec.decode(latent)
        assert sound.shape == (2, 2048 * num_latents)
        expected = build("AutoencoderOobleck", **OOBLECK).decode(latent[None]).sample[0]
        torch.testing.assert_close(sound, expected.clamp(-1, 1))


@pytest.mark.parametrize("num_latents", [1, 126, 376])
@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_audio_latents_last_a_25th_of_a_second_each_at_every_rate(num_latents, rate):
    sound = torch.zeros(1, 2048 * num_latents)
    assert abs(resample(sound, 51_200, rate).shape[1] - round(num_latents / 25 * rate)) <= 1


def test_oobleck_samples_its_posterior_with_the_given_generator(oobleck_folder):
    codec, vae = OobleckAudioCodec.load(oobleck_folder), build("AutoencoderOobleck", **OOBLECK)
    sound = 0.1 * noise(1, 3 * 2048 + 100)
    latent = codec.encode(sound, 51_200, torch.Generator().manual_seed(5))
    assert latent.shape == (64, 3)
    posterior = vae.encode(sound[:, : 3 * 2048].expand(2, -1)[None]).latent_dist
    drawn = torch.randn(1, 64, 3, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(latent, (posterior.mean + posterior.std * drawn)[0])
    assert not torch.equal(latent, codec.encode(sound, 51_200, torch.Generator().manual_seed(6)))


def test_oobleck_takes_any_rate_and_mixes_to_mono(oobleck_folder):
    codec = OobleckAudioCodec.load(oobleck_folder)
    stereo = 0.1 * noise(2, 9600)
    latent = codec.encode(stereo, 48_000, torch.Generator().manual_seed(5))
    assert latent.shape == (64, 5)
    mono = resample(stereo.mean(0, keepdim=True), 48_000, 51_200)
    torch.testing.assert_close(latent, codec.encode(mono, 51_200, torch.Generator().manual_seed(5)))
    with pytest.raises(MediaError, match="shorter than 1/25 s"):
        codec.encode(stereo[:, :1000], 48_000, torch.Generator())


class LevelVae:
    """Encodes the mean of every latent's samples, plus a level that counts windows."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.lengths = []

    def encode(self, pieces):
        self.lengths.append(pieces.shape[-1] // 2048)
        level = float(len(self.lengths))

        class Distribution:
            def sample(self, generator):
                return pieces[:, :1].unflatten(-1, (-1, 2048)).mean(-1) + level

        return type("Output", (), {"latent_dist": Distribution()})()


def test_sound_beyond_29_seconds_is_encoded_in_cross_faded_windows():
    num_latents, vae = 30 * 25, LevelVae()
    ramp = torch.arange(num_latents, dtype=torch.float32).repeat_interleave(2048)[None]
    latent = OobleckAudioCodec(vae).encode(ramp, 51_200, torch.Generator())
    assert vae.lengths == [725, 387]
    levels = latent[0] - torch.arange(num_latents)
    assert levels[:363].tolist() == [1.0] * 363
    assert levels[725:].tolist() == [2.0] * 25
    torch.testing.assert_close(levels[363:725], torch.linspace(1, 2, 362), atol=1e-3, rtol=0)


@pytest.mark.parametrize("num_latents", [1, 725, 726, 1087, 1088, 1089, 2000])
def test_windows_of_sound_cover_it_and_end_with_it(num_latents):
    starts = window_starts(num_latents)
    parts = [torch.arange(start, min(start + WINDOW_LATENTS, num_latents)).float()[None] for start in starts]
    assert len(parts) == 1 + max(0, math.ceil((num_latents - WINDOW_LATENTS) / (WINDOW_LATENTS - OVERLAP_LATENTS)))
    torch.testing.assert_close(cross_faded(parts, OVERLAP_LATENTS), torch.arange(num_latents).float()[None])


@pytest.mark.parametrize("codec", [WanVideoCodec, OobleckAudioCodec])
def test_absent_and_unfit_files_are_refused_in_a_sentence(codec, wan_folder, oobleck_folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"must be a local folder with config\.json, \*\.safetensors"):
        codec.load(tmp_path / "nowhere")
    own, other = (wan_folder, oobleck_folder) if codec is WanVideoCodec else (oobleck_folder, wan_folder)
    with pytest.raises(ConfigError):
        codec.load(other)

    weights = own / "diffusion_pytorch_model.safetensors"
    (tmp_path / "config.json").write_text((own / "config.json").read_text())
    (tmp_path / weights.name).write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ConfigError, match="cannot be loaded"):
        codec.load(tmp_path)

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install 'hhray\[codecs\]'"):
        codec.load(own)


def test_missing_and_unexpected_weights_are_listed_not_invented(wan_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(wan_folder / "diffusion_pytorch_model.safetensors")
    state["extra"] = state.pop("quant_conv.bias")
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text((wan_folder / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"missing quant_conv\.bias; unexpected extra"):
        WanVideoCodec.load(tmp_path)

    config = json.loads((wan_folder / "config.json").read_text()) | {"scale_factor_spatial": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(
        (wan_folder / "diffusion_pytorch_model.safetensors").read_bytes()
    )
    with pytest.raises(ConfigError, match=r"\(48, 4, 8\), not \(48, 4, 16\)"):
        WanVideoCodec.load(tmp_path)
