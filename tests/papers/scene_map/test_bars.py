"""Bars around a picture say nothing of it, and a dark picture has none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitm.papers.scene_map import OperatorMap
from vitm.papers.scene_map import operator_map as module
from vitm.papers.scene_map.bars import picture_bounds


def scene(rng, height=72, width=512):
    """A picture of blocks, whose borders are edges: (1, 3, height, width)."""
    blocks = torch.rand(1, 3, height // 4, width // 4, generator=rng)
    blocks = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return F.avg_pool2d(F.pad(blocks, (0, 1, 0, 1), mode="replicate"), 2, 1)


def framed(picture, left, right, top, bottom, code=0.0):
    return F.pad(picture, (left, right, top, bottom), value=code)


@pytest.mark.parametrize("bars", [(0, 0, 13, 13), (70, 70, 0, 0), (70, 68, 12, 13), (0, 0, 0, 0)])
def test_a_picture_says_what_it_says_without_bars(rng, monkeypatch, bars):
    """On the host, and where the host does not know the bounds: as on a device, and for an exporter."""
    network = OperatorMap(hidden=8, table_size=9).eval()
    picture = scene(rng)
    frames = torch.cat((framed(picture, *bars, code=8 / 255), framed(picture.flip(3), *bars)))
    alone = network.numbers(torch.cat((picture, picture.flip(3))))
    torch.testing.assert_close(network.numbers(frames), alone, atol=1e-5, rtol=0)
    monkeypatch.setattr(module.torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(network.numbers(frames), alone, atol=1e-5, rtol=0)


def test_subtitles_in_a_bar_and_dark_rows_of_the_picture_do_not_move_the_bounds(rng):
    frames = framed(scene(rng), 0, 0, 20, 20).repeat(4, 1, 1, 1)
    frames[1, :, 98:104, 200:310:2] = 1.0
    frames[2, :, 80:] = 0.0
    frames[3] = (frames[3] + 2 / 255 * torch.rand(112, 512, generator=rng)).clamp(max=1)
    assert picture_bounds(torch.cat((frames, frames.flip(2)))).tolist() == [[20, 92, 0, 512]] * 8


def test_pictures_without_bars_stay_whole(rng):
    """A black frame, a night of noise, a lamp in the dark, a sky that clips above snow that does, and a dark sky."""
    black = torch.zeros(3, 72, 512)
    night = 0.02 * torch.rand(3, 72, 512, generator=rng)
    lamp = night.clone()
    lamp[:, 30:40, 250:270] = 1.0
    clipped, sky = scene(rng)[0], scene(rng)[0]
    clipped[:, :20], clipped[:, 60:] = 1.0, 1.0
    sky[:, :30] = 0.0
    bounds = picture_bounds(torch.stack((black, night, lamp, clipped, sky)))
    assert bounds.tolist() == [[0, 72, 0, 512]] * 5
