"""The Python face: every mode on the pico network, from arguments to a clip."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

import engine
from engine.pipeline import Pipeline
from hhray.capabilities import Capabilities
from hhray.cost import stream_tokens
from hhray.errors import ConfigError, EngineFault, InvalidParameter, MediaError
from hhray.geometry import ClipGeometry, Ratio, Resolution
from hhray.memory_parts import Stage
from hhray.memory_plan import MAX_TEXT_TOKENS, shared_activation_bytes
from hhray.model_size import preset
from hhray.served_model import ServedModel
from tiny_release import write_tiny_release

TONE = 500  # Hz: one of those the stand-in codec knows
SHORT = {"duration": 3, "ratio": "1:1"}


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_pretrained("pico").to("cpu")


@pytest.fixture(scope="module")
def plain(pipeline):
    """A clip to compare others with."""
    return pipeline(prompt="x", **SHORT)


@pytest.fixture(scope="module")
def trained():
    """A network said to be trained for everything."""
    return Pipeline(ServedModel(preset("pico"), Capabilities(r2v=True, edit=True))).to("cpu")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "weights"
    write_tiny_release(folder, size=preset("pico"), parts=("distill", "540p_sr"), seed=4)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """3 s of a moving bar with a tone."""
    path = tmp_path_factory.mktemp("source") / "source.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 384, 384, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="stereo")
        for index in range(75):
            pixels = np.full((384, 384, 3), 60, np.uint8)
            pixels[:, 4 * index : 4 * index + 40] = 250
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        wave = np.repeat(0.4 * np.sin(2 * np.pi * TONE * np.arange(144_000) / 48000)[None], 2, 0)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def picture(left, right):
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[:, :200], pixels[:, 200:] = left, right
    return Image.fromarray(pixels)


RED_BLUE, GREEN = picture((200, 40, 40), (40, 40, 200)), picture((40, 200, 40), (40, 200, 40))


def test_engine_offers_the_pipeline_without_importing_torch():
    code = "import sys, engine; assert 'torch' not in sys.modules; engine.Pipeline; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert engine.Pipeline is Pipeline
    with pytest.raises(AttributeError, match="no attribute 'Pipe'"):
        engine.Pipe  # noqa: B018


def test_a_prompt_becomes_a_clip_with_a_file(pipeline, tmp_path):
    seen = []
    clip = pipeline(prompt="a red fox", seed=3, on_step=lambda *step: seen.append(step), **SHORT)
    assert seen == [(step, 8) for step in range(1, 9)]
    assert tuple(clip.frames.shape) == (75, 320, 320, 3)
    assert clip.frames.dtype is torch.uint8
    assert tuple(clip.audio.shape) == (2, 144_000)
    assert clip.notice == ""
    clip.save(tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].frames == 75
    again = pipeline(prompt="a red fox", seed=3, **SHORT)
    assert torch.equal(again.frames, clip.frames)


def test_language_and_dialogue_reach_the_model(pipeline, plain):
    spoken = pipeline(prompt="x", language="French", dialogue="Bonjour !", **SHORT)
    assert not torch.equal(plain.frames, spoken.frames)


def test_24_frames_a_second_have_the_same_sound(plain):
    clip = Pipeline.from_pretrained("pico", frames_per_second=24).to("cpu")(prompt="x", **SHORT)
    assert len(clip.frames) == 72
    assert torch.equal(clip.audio, plain.audio)


def test_a_picture_is_the_first_frame_and_gives_the_ratio(pipeline):
    clip = pipeline(prompt="it moves", image=RED_BLUE, duration=3)
    wanted = np.asarray(RED_BLUE.resize((320, 320))).astype(int)
    assert np.abs(clip.frames[0].numpy().astype(int) - wanted).mean() < 8


def test_a_sound_drives_the_clip(pipeline, plain, source):
    clip = pipeline(prompt="x", sound=source, **SHORT)
    assert not torch.equal(clip.frames, plain.frames)
    driven, free = (_spectrum(one) for one in (clip, plain))
    assert driven[TONE] > 2.5 * driven[TONE + 50], "the tone stands out of its neighbour among the codec's"
    assert free[TONE] < 2.5 * free[TONE + 50]


def test_references_that_were_not_trained_fall_back_to_the_first(pipeline):
    clip = pipeline(prompt="[Image 1] and [Image2]", references=[RED_BLUE, GREEN], **SHORT)
    other = pipeline(prompt="[Image 1] and [Image2]", references=[RED_BLUE, RED_BLUE], **SHORT)
    assert "reference" in clip.notice
    wanted = np.asarray(RED_BLUE.resize((320, 320))).astype(int)
    assert np.abs(clip.frames[0].numpy().astype(int) - wanted).mean() < 8
    assert torch.equal(clip.frames, other.frames)


def test_trained_references_are_read_all_of_them(trained):
    clips = [trained(prompt="[Image 1]", references=given, **SHORT) for given in ([GREEN], [GREEN, RED_BLUE])]
    assert all(clip.notice == "" for clip in clips)
    assert not torch.equal(clips[0].frames, clips[1].frames)
    green = np.asarray(GREEN.resize((320, 320))).astype(int)
    assert np.abs(clips[0].frames[0].numpy().astype(int) - green).mean() > 20, "a reference is no first frame"


def test_an_edit_keeps_length_and_sound(pipeline, source):
    clip = pipeline(prompt="a storm", video=source, keep_sound=True)
    assert tuple(clip.frames.shape) == (75, 320, 320, 3)
    assert "edit" in clip.notice
    assert np.argmax(_spectrum(clip)) == TONE
    assert clip.audio.shape[1] == 144_000


def test_a_trained_edit_reads_its_source_and_its_references(trained, plain, source):
    clips = [trained(prompt="x", video=source, references=given) for given in ((), (GREEN,))]
    assert all(clip.notice == "" for clip in clips)
    assert not torch.equal(clips[0].frames, clips[1].frames)
    assert not torch.equal(clips[0].frames, plain.frames)


def test_a_release_says_what_its_tiers_are_made_with(release):
    pipeline = Pipeline.from_pretrained(release, tiers=[Resolution.P480], max_seconds=3).to("cpu")
    assert pipeline.served.ladder == {Resolution.P480: Stage.SR_540P, Resolution.P720: Stage.SR_540P}
    assert pipeline.served.num_steps(_job("480P").geometry) == 13
    assert pipeline.notice(_job("480P")) == ""
    assert "no super-resolution stage for 1080P" in pipeline.notice(_job("1080P"))
    batch = pipeline.begin([_job("256P")])
    with pytest.raises(EngineFault, match="not denoised yet"):
        pipeline.decode(batch, 0)
    with pytest.raises(InvalidParameter, match="planned for clips of at most 3 seconds at 480P"):
        pipeline.begin([_job("720P")])


def test_base_weights_are_guided_away_from_a_negative_prompt_encoded_once(tmp_path):
    write_tiny_release(tmp_path / "weights", size=preset("pico"), parts=("base",), seed=4)
    pipeline = Pipeline.from_pretrained(tmp_path / "weights", max_seconds=3).to("cpu")
    batches = [pipeline.begin([_job("256P")]) for _ in range(2)]
    pipeline.step(batches[0])
    assert (batches[0].next_step, batches[0].num_steps) == (1, 32)
    negatives = [batch.prepared[0].clip.negative_text for batch in batches]
    assert negatives[0] is negatives[1]
    assert negatives[0].shape != batches[0].prepared[0].clip.text.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duration": 16}, "duration: expected 3 to 15"),
        ({"resolution": "4K"}, "resolution: expected one of 256P"),
        ({"ratio": "2:1"}, "ratio: expected one of 16:9"),
        ({"language": "Latin"}, "language: expected one of English"),
        ({"seed": -1}, "seed: expected 0"),
        ({"image": GREEN, "references": [GREEN]}, "not both"),
        ({"references": [GREEN] * 10}, "at most 9 pictures, got 10"),
        ({"prompt": "[Image 2]", "references": [GREEN]}, "Image 2"),
        ({"keep_sound": True}, "no video"),
        ({"video": "none.mp4"}, "video: there is no file none.mp4"),
        ({"references": ["none.png"]}, "references: there is no file none.png"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(pipeline, arguments, message):
    with pytest.raises(InvalidParameter, match=message):
        pipeline(**{"prompt": "x"} | arguments)


def test_bad_files_and_absent_folders_are_named(pipeline, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="MP4 or MOV"):
        pipeline(prompt="x", video=tmp_path / "bad.mp4")
    with pytest.raises(ConfigError, match="no directory"):
        Pipeline.from_pretrained(tmp_path / "none")
    with pytest.raises(EngineFault, match="not loaded"):
        Pipeline.from_pretrained("pico")(prompt="x")


def test_generate_is_the_command_line_of_it(tmp_path):
    RED_BLUE.save(tmp_path / "first.png")
    command = [sys.executable, "-m", "hhray", "generate", "--weights", "pico", "--prompt", "a fox", "--json"]
    command += ["--image", str(tmp_path / "first.png"), "--duration", "3", "--out", str(tmp_path / "clip.mp4")]
    command += ["--attention-precision", "int8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["clip"] == str(tmp_path / "clip.mp4")
    assert facts["seconds_per_clip"] > 0
    assert facts["attention"] == "int8 in plain torch, slow"
    with av.open(facts["clip"]) as container:
        assert container.streams.video[0].frames == 75


def _job(resolution):
    from engine.messages import ClipJob

    return ClipJob("t", "a fox", 1, resolution, "1:1", 3)


def _spectrum(clip):
    """Loudness by whole hertz."""
    seconds = clip.audio.shape[1] // 48000
    return np.abs(np.fft.rfft(clip.audio[0].numpy()))[::seconds]


def test_a_clip_that_needs_the_memory_of_several_ranks_says_so():
    pipeline = Pipeline.from_pretrained("pico", tiers=[Resolution.P256], max_seconds=4).to("cpu")
    assert pipeline.least_ranks == {}
    size, plan = pipeline.served.size, pipeline._loaded.plan
    shapes = [ClipGeometry(Resolution.P256, ratio, 3) for ratio in Ratio]
    grids = [(pipeline.served.base_grid(shape), shape.audio_latents) for shape in shapes]
    most = max(stream_tokens(grid, audio, MAX_TEXT_TOKENS) for grid, audio in grids)
    room = shared_activation_bytes(size, most, 2, plan.chunked_mlp, None, plan.int8_attention)
    pipeline._loaded.plan = replace(plan, room_bytes=dict.fromkeys(Stage, room))
    pipeline._world_size = 4
    assert pipeline.least_ranks == {"256P/3": 2, "256P/4": 4}
