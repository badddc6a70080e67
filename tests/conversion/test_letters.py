"""Letters burned into a picture are told from its lights, and stay paper white."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from vitm.color import inverse_tone_map, pq_eotf
from vitm.conversion.letters import HELD, LettersDetector
from vitm.conversion.level import LevelControl

PHOTOGRAPHS = [data.coffee(), data.astronaut(), data.rocket(), data.cat()]
FONTS = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]


def subtitled(image: np.ndarray, words: str, font: int = FONTS[0], height: int = 360) -> tuple[Tensor, Tensor]:
    """Return a picture with a subtitle, compressed, and where its white pixels are."""
    scale = height / 360
    picture = cv2.resize(image, (640 * height // 360, height))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.putText(mask, words, (round(100 * scale), round(330 * scale)), font, scale, 255, round(2 * scale), cv2.LINE_AA)
    picture[cv2.dilate(mask, np.ones((round(5 * scale),) * 2, np.uint8)) > 0] = 0  # the outline
    picture = np.where(mask[..., None] > 0, (picture + (240 / 255) * mask[..., None]).clip(0, 240), picture)
    code = cv2.imencode(".jpg", picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return tensor(cv2.imdecode(code, cv2.IMREAD_COLOR)), torch.from_numpy(mask > 200)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("height", [360, 1080])
def test_subtitles_are_found_and_nothing_beside_them(font: int, height: int) -> None:
    image = PHOTOGRAPHS[FONTS.index(font)]
    sdr, white = subtitled(image, "I never said that.", font, height)
    letters = LettersDetector()(sdr)
    assert letters is not None
    assert letters.shape == (1, *sdr.shape[1:])
    assert letters[0][white].mean() > 0.9
    grown = cv2.dilate(white.byte().numpy(), np.ones((15 * height // 360,) * 2, np.uint8))
    assert letters[0][torch.from_numpy(grown) == 0].sum() < 0.01 * letters.sum()
    assert letters[:, : 290 * height // 360].max() == 0


@pytest.mark.parametrize("number", range(len(PHOTOGRAPHS)))
def test_photographs_have_none(number: int) -> None:
    for gain in (1.0, 2.0):  # with clipped highlights too
        assert LettersDetector()((gain * tensor(PHOTOGRAPHS[number])).clamp(0, 1)) is None


def test_lamps_windows_and_their_reflections_are_none() -> None:
    night = np.full((360, 640, 3), 12, np.uint8)
    for x in range(40, 600, 28):
        cv2.circle(night, (x, 80), 8, (255, 255, 255), -1, cv2.LINE_AA)  # lamps
        cv2.rectangle(night, (x, 120), (x + 12, 138), (255, 255, 255), -1)  # windows
        cv2.rectangle(night, (x, 200), (x + 3, 232), (255, 255, 255), -1)  # reflections in water
    assert LettersDetector()(tensor(night)) is None


def test_glowing_letters_are_none() -> None:
    """Neon shines around itself; what is burned in ends at once."""
    sign = np.zeros((360, 640, 3), np.uint8)
    cv2.putText(sign, "OPEN ALL NIGHT", (100, 200), FONTS[0], 1.0, (255, 255, 255), 2, cv2.LINE_AA)
    assert LettersDetector()(tensor(sign)) is not None
    glow = cv2.GaussianBlur(cv2.dilate(sign, np.ones((9, 9), np.uint8)), (0, 0), 3) * 0.7
    assert LettersDetector()(tensor(np.maximum(sign, glow))) is None


def test_a_black_picture_has_none() -> None:
    assert LettersDetector()(torch.zeros(3, 90, 160)) is None


def test_a_line_that_was_found_does_not_flicker() -> None:
    """Three letters are too few for a line, but not where there was one a moment ago."""
    whole, _ = subtitled(PHOTOGRAPHS[0], "HELLO")
    part = whole.clone()
    part[:, :, 150:] = tensor(cv2.resize(PHOTOGRAPHS[0], (640, 360)))[:, :, 150:]
    detector = LettersDetector()
    assert detector(part) is None
    assert detector(whole) is not None
    for _ in range(HELD):
        assert detector(part) is not None
    assert detector(part) is None  # what is held counts from where it was found
    assert detector(whole) is not None
    assert detector(part, new_scene=True) is None


def test_letters_become_plain_sdr_and_the_picture_stays() -> None:
    sdr, white = subtitled(PHOTOGRAPHS[0], "I never said that.")
    sdr = sdr.double()
    hdr_pq = inverse_tone_map(sdr, "reinhard", peak_nits=1000.0)
    letters = LettersDetector()(sdr)
    assert letters is not None
    graded = LevelControl()(hdr_pq, sdr, letters=letters)
    nits = pq_eotf(graded).amax(dim=0)
    core = white & (sdr.amin(dim=0) > 0.9)
    assert pq_eotf(hdr_pq).amax(dim=0)[core].median() > 600
    # BT.1886: light is the code to the power of 2.4; white is at 203 cd/m2
    ratio = nits[core] / (203 * sdr.amax(dim=0)[core] ** 2.4)
    assert ((ratio - 1).abs() < 0.03).double().mean() > 0.9
    assert torch.equal(graded[:, letters[0] == 0], hdr_pq[:, letters[0] == 0])
