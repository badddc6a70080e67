"""Graphics are told from photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from vitm.color import inverse_tone_map, pq_eotf
from vitm.conversion.graphics import MEMORY, GraphicsDetector, graphics_share
from vitm.conversion.level import LevelControl


def page(background: float, text: float, height: int = 180) -> Tensor:
    image = np.full((height, 320, 3), 255 * background, np.uint8)
    for i, words in enumerate(("A TITLE PAGE", "with words on it")):
        cv2.putText(image, words, (30, 60 + 50 * i), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255 * text,) * 3, 2, cv2.LINE_AA)
    return tensor(image)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1) / 255


def compressed(sdr: Tensor) -> Tensor:
    image = (sdr.permute(1, 2, 0) * 255).round().byte().numpy()
    return tensor(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_COLOR))


PHOTOGRAPHS = [data.coffee(), data.astronaut(), data.cat(), data.retina()[::2, ::2], data.rocket()]


@pytest.mark.parametrize("colours", [(1.0, 0.0), (0.9, 0.2), (0.7, 0.1)])
def test_pages_are_graphics(colours: tuple[float, float]) -> None:
    assert graphics_share(page(*colours)) > 0.9
    assert graphics_share(compressed(page(*colours))) > 0.9
    assert graphics_share(page(*colours, height=1080)) > 0.9


@pytest.mark.parametrize("number", range(len(PHOTOGRAPHS)))
def test_photographs_are_none(number: int) -> None:
    photograph = tensor(PHOTOGRAPHS[number])
    assert graphics_share(photograph) < 0.01
    clipped = (photograph * 2).clamp(0, 1)  # an overexposed sky is still a sky
    assert graphics_share(clipped) < 0.01
    boxed = torch.nn.functional.pad(photograph, (0, 0, 60, 60))
    assert graphics_share(boxed) < 0.01
    assert graphics_share(photograph * 0.05) == 0  # nor is a dark scene, which has few colours


def test_black_and_small_lights_are_none() -> None:
    assert graphics_share(torch.zeros(3, 90, 160)) == 0
    night = torch.zeros(3, 180, 320)
    night[:, 40:60, 50:80] = 1.0  # a lamp
    assert graphics_share(night) == 0
    assert graphics_share(page(0.0, 1.0)) == 0  # and so is white text on black


def test_a_page_that_fades_in_never_gets_darker() -> None:
    detector, control = GraphicsDetector(), LevelControl(gain=0.509)
    white = []
    for i in range(25):
        sdr = page(1.0, 0.0) * i / 24
        hdr_pq = control(inverse_tone_map(sdr), sdr, detector(sdr, i == 0))
        white.append(float(pq_eotf(hdr_pq[:, 0, 0]).max()))
    assert min(np.diff(white)) > 0
    assert white[-1] == pytest.approx(203, rel=0.03)


@pytest.mark.slow
def test_what_changes_within_a_scene_changes_slowly_and_at_once_at_a_cut() -> None:
    photograph = tensor(PHOTOGRAPHS[0])
    detector = GraphicsDetector()
    shares = [detector(page(1.0, 0.0), i == 0) for i in range(30)] + [
        detector(photograph, False) for _ in range(MEMORY)
    ]
    assert set(shares[:30]) == {1.0}
    assert np.allclose(np.diff(shares[29:]), -1 / MEMORY)
    assert shares[-1] == 0
    assert detector(page(1.0, 0.0), True) == 1
