from __future__ import annotations

import cv2
import numpy as np
import torch

from vitm.color import tone_map
from vitm.training.callbacks.previews import preview


def test_preview_shows_four_panels():
    """SDR as it is, both HDR pictures tone-mapped, and the coldest colour of the map where nothing differs."""
    sdr = torch.rand(3, 40, 200)
    hdr = torch.rand(3, 40, 200) * 0.6
    picture = preview(sdr, hdr, hdr)
    assert picture.shape == (64, 800, 3)
    panels = np.split(picture[24:], 4, axis=1)
    np.testing.assert_array_equal(panels[0], (sdr * 255).round().permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(panels[1], panels[2])
    np.testing.assert_array_equal(panels[1], (tone_map(hdr) * 255).round().permute(1, 2, 0).numpy())
    cold = cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_TURBO)[0, 0, ::-1]
    assert (panels[3] == cold).all()
