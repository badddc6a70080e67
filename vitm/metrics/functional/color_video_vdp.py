"""ColorVideoVDP through its own package, `cvvdp`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitm.metrics.functional.code import as_codes, check_clips, code_pair


class Viewing(NamedTuple):
    """The conditions of viewing that ColorVideoVDP assumes.

    Attributes:
        version: version of the metric, such as "0.5.7"; values move with it.
        ppd: pixels a degree of visual angle.
        peak_nits: the display's peak luminance in cd/m2.
    """

    version: str
    ppd: float
    peak_nits: float


def _package() -> ModuleType:
    try:
        return import_module("pycvvdp")
    except ImportError as error:
        raise ImportError(
            f"ColorVideoVDP needs the package cvvdp ({error}): run `pip install 'vitm[cvvdp]'`"
        ) from error


def _metric(display: str, fps: float, device: torch.device) -> Any:
    """Return the package's metric for a PQ display, after a check of the options."""
    package = _package()
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be positive, got {fps}")
    try:
        photometry = package.vvdp_display_photometry.load(display, [])
    except package.vq_exception as error:
        raise ValueError(
            f"unknown display {display!r}: expected one of cvvdp's, such as 'standard_hdr_pq' or '65inch_hdr_pq_1Knit'"
        ) from error
    if photometry.EOTF != "PQ":
        raise ValueError(
            f"the display {display!r} takes {photometry.EOTF} codes, but ours are PQ: take a PQ display, such as "
            "'standard_hdr_pq'"
        )
    return package.cvvdp(display_name=display, quiet=True, device=device)


def viewing(display: str = "standard_hdr_pq") -> Viewing:
    """Return the conditions that ColorVideoVDP assumes for a display.

    Args:
        display: name of one of cvvdp's PQ displays.

    Raises:
        ImportError: if cvvdp is not installed; says how to install it.
        ValueError: for an unknown display or one that does not take PQ codes.
    """
    metric = _metric(display, 1.0, torch.device("cpu"))
    return Viewing(str(metric.version), float(metric.pix_per_deg), float(metric.display_photometry.Y_peak))


def _frames(video: Iterable[Tensor], count: int, name: str) -> Iterator[Tensor]:
    """Yield the frames as (1, 3, 1, H, W) in fp32, if there are `count` of one size."""
    size: torch.Size | None = None
    index = 0
    for frame in video:
        if frame.ndim != 3 or (size is not None and frame.shape != size):
            expected = "(3, H, W)" if size is None else f"{tuple(size)} as the first"
            raise ValueError(f"frame {index} of {name} has shape {tuple(frame.shape)}: expected {expected}")
        if not frame.isfinite().all():
            raise ValueError(f"frame {index} of {name} holds nan or inf, which ColorVideoVDP cannot judge")
        size = frame.shape
        index += 1
        if index > count:
            raise ValueError(f"{name} has more than the {count} frames announced")
        yield as_codes(frame[None], name, keep_dtype=True).float().clamp(0.0, 1.0)[:, :, None]
    if index < count:
        raise ValueError(f"{name} ends after {index} of the {count} frames announced")


@dataclass
class _Source:
    """Two videos behind the package's `video_source` interface, which asks for each frame once, in order."""

    size: tuple[int, int, int]
    fps: float
    photometry: Any
    tests: Iterator[Tensor]
    references: Iterator[Tensor]

    def get_video_size(self) -> tuple[int, int, int]:
        """Return height, width and number of frames."""
        return self.size

    def get_frames_per_second(self) -> float:
        return self.fps

    def get_batch_size(self) -> int:
        return 1

    def get_test_frame(self, frame: int, device: torch.device, colorspace: str) -> Any:
        return self.photometry.source_2_target_colorspace(next(self.tests), colorspace)

    def get_reference_frame(self, frame: int, device: torch.device, colorspace: str) -> Any:
        return self.photometry.source_2_target_colorspace(next(self.references), colorspace)


def color_video_vdp_stream(
    pred: Iterable[Tensor], target: Iterable[Tensor], frames: int, fps: float, display: str = "standard_hdr_pq"
) -> Tensor:
    """Return `color_video_vdp` of one clip that need not fit into memory: each frame is taken once, in order.

    On the CPU only the quarter of a second of frames that the temporal filters see is kept; on a GPU the package takes
    as many frames at a time as fit.

    Args:
        pred: frames (3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64, on any one device.
        target: as many frames of the same shape.
        frames: number of frames, at least 2; the metric asks before it reads.
        fps: frames a second.
        display: name of one of cvvdp's PQ displays.

    Returns:
        A scalar in fp32, on the frames' device.

    Raises:
        ImportError: if cvvdp is not installed; says how to install it.
        TypeError: for integers and half precision.
        ValueError: for frames of other shapes or with nan or inf, more or fewer than `frames`, an unknown display or
            one that does not take PQ codes, and if `fps` is not positive.
    """
    if frames < 2:
        raise ValueError(f"ColorVideoVDP of a video needs at least 2 frames, got {frames}")
    tests, references = _frames(pred, frames, "pred"), _frames(target, frames, "target")
    test, reference = next(tests), next(references)
    if test.shape != reference.shape:
        raise ValueError(
            f"pred has frames {tuple(test.shape[-2:])}, target {tuple(reference.shape[-2:])}: expected the same"
        )
    metric = _metric(display, fps, test.device)
    tests, references = chain([test], tests), chain([reference], references)
    source = _Source((test.shape[-2], test.shape[-1], frames), fps, metric.display_photometry, tests, references)
    value: Tensor = metric.predict_video_source(source)[0]
    for rest in (tests, references):
        next(rest, None)  # raises if there are more
    return value


def color_video_vdp(pred: Tensor, target: Tensor, fps: float, display: str = "standard_hdr_pq") -> Tensor:
    """Return ColorVideoVDP (Mantiuk et al. 2024) of each clip: its quality in JOD, by the package `cvvdp` (MIT).

    Convention: the value depends on the frame rate, on the display, and on the package's version; name all three. It is
    blind to a uniform gain of the light, so report it beside PSNR or Delta E ITP. A difference of 1 JOD means that 75 %
    of observers prefer the better one.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64 (computed in fp32), T >= 2.
        target: the same shape.
        fps: frames a second.
        display: name of one of cvvdp's PQ displays: "standard_hdr_pq" (1500 cd/m2, 75 pixels a degree),
            "65inch_hdr_pq_1Knit" (1000 cd/m2), ...

    Returns:
        (B,) in fp32: 10 for identical clips, lower is worse. Differentiable.

    Raises:
        ImportError: if cvvdp is not installed; says how to install it.
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, nan and inf (which the package refuses), an unknown
            display or one that does not take PQ codes, and if `fps` is not positive.
    """
    pred, target = code_pair(pred, target, keep_dtype=True)
    check_clips(pred, "ColorVideoVDP")
    clips = zip(pred, target, strict=True)
    return torch.stack([color_video_vdp_stream(x, y, len(x), fps, display) for x, y in clips])
