"""Contact sheets show prompts, frames and clicks, whatever fonts there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from engine.embedded.scoring.clip_file import Watched
from engine.embedded.scoring.lettering import lettered
from engine.embedded.scoring.makers import save_clip, true_clip
from engine.embedded.scoring.modes import in_english
from engine.embedded.scoring.sheet import CLICK, NUM_FRAMES, WIDTH, Row, contact_sheet, strip
from engine.embedded.world.scene import Face, Motion, Scene, Thing
from engine.embedded.world.sound import sound
from engine.resample import resample
from hhray.request import Language

BOUNCING = Scene((Thing("ball", "red", Motion.BOUNCE),), background="black")


def test_the_strip_below_a_clip_shows_its_clicks():
    heard = resample(torch.from_numpy(sound(BOUNCING, 75 * 2048)), 51_200, 48_000).numpy()
    drawn = strip(Watched(np.zeros((75, 8, 8, 3), np.uint8), heard), 300)
    red = np.flatnonzero((drawn == CLICK).all(axis=-1).all(axis=0))
    assert len(red) == 4
    np.testing.assert_allclose(red[::2], [99, 199], atol=1)  # after one and two of three seconds


def test_a_row_has_eight_frames(tmp_path):
    path = tmp_path / "clip.mp4"
    save_clip(*true_clip(BOUNCING, 12), path)
    rows = [Row("a red ball bouncing", path), Row("\ue123", path, "a red ball", "t2v")]
    contact_sheet(rows, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    assert sheet.shape[1] > WIDTH
    columns = (sheet[..., 0] - sheet[..., 1] > 120).any(axis=0)
    assert int(np.diff(columns.astype(int)).clip(0).sum()) == NUM_FRAMES  # the ball, in each frame
    with pytest.raises(ValueError, match="one clip or more"):
        contact_sheet([], tmp_path / "none.png")


def test_letters_that_no_font_has_are_said_otherwise():
    assert lettered("a red ball", "", 14)[0] == "a red ball"
    text, font = lettered("\ue123 ball", "a ball", 14, ("no such font.ttf",))
    assert text == "[a ball]"
    assert font.getbbox(text)[2] > 10
    assert lettered("\ue123 ball", "", 14, ())[0] == "\\ue123 ball"


def test_scenes_are_said_in_plain_english():
    assert in_english(BOUNCING) == "a red ball bouncing"
    assert in_english(Scene(face=Face("blue", Language.KOREAN, 1))) == "blue face speaking Korean"
