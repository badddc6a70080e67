"""Scene cuts, found as frames pass by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detector import FlashFilter
from scenedetect.detectors import ContentDetector


class CutDetector:
    """Says of each frame of a clip whether a new scene begins with it (PySceneDetect's content detector).

    Args:
        threshold: threshold on the mean change in hue, saturation and lightness, 0 to 255; 27 is PySceneDetect's own.
    """

    def __init__(self, threshold: float = 27.0) -> None:
        # every cut is told at once: a filter of short scenes would tell it late, or not at all
        self._detector = ContentDetector(threshold, min_scene_len=1, filter_mode=FlashFilter.Mode.SUPPRESS)
        self._count = 0

    def __call__(self, rgb: npt.NDArray[np.float32]) -> bool:
        """Return whether the next frame, (H, W, 3) RGB codes in [0, 1] (SDR gamma or PQ), is the first of a scene.

        The first frame of all is not a cut.
        """
        step = max(1, min(rgb.shape[:2]) // 144)
        bgr = (np.clip(rgb[::step, ::step, ::-1], 0, 1) * 255).astype(np.uint8)
        cuts = self._detector.process_frame(FrameTimecode(self._count, fps=25.0), bgr)
        self._count += 1
        return bool(cuts)
