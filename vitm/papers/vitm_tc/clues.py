"""Clues without a network: what a key has clipped is copied from frames that show it.

Not in the paper. It is the least that a network of this kind has to beat, and needs neither training nor weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from math import log2
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.nets.flow import FlowName
from vitm.ops.warp import warp
from vitm.papers.vitm_tc.exposure import BLACK, composite, linearise, over_exposure
from vitm.papers.vitm_tc.motion import Motion, brightness, estimate_motion, exposure_ratio, inside
from vitm.papers.vitm_tc.whole_clip import ClipStore, Flow, WholeClip

FULL = 0.98  # code from which a channel counts as clipped: its light is at least this
LONGER = 1.02  # exposure of a key over that of a reference below which the reference clips whatever the key does
TOUCHED = 0.01  # share of clipped samples in an interpolated one from which it counts as clipped
DARKER = 0.85  # a clipped channel may come out darker than 1 by this: flow errs by parts of a pixel
AGREEMENT = 0.35  # natural logarithm: difference to the key's light of a channel that is not clipped
NEAREST = 1 / 16  # weight of a clue beside that of the one before it
FEATHER = 1 / 32  # width of a seam, as a share of the shorter side
SEARCH_STEP = 3  # frames from one frame that may be searched to the next
DARK = 0.02  # linear light below which differences count less


class Fill(NamedTuple):
    """The light of a key whose clipped pixels are filled from references.

    Attributes:
        hdr_linear: composite of equation 1, with the fill for Y (B, 3, H, W), linear, in the key's exposure, fp32.
        confidence: (B, 3, H, W) in [0, 1]: 1 where a channel is not clipped, or a reference shows it; 0 where it is
            clipped in all references: the light is then at least what stands there; between them at seams.
    """

    hdr_linear: Tensor
    confidence: Tensor


@torch.no_grad()
def fill_from_clues(key: Tensor, references: Iterable[tuple[Tensor, Motion]], tau: float = 0.95) -> Fill:
    """Fill what a key has clipped with the light of references, in the key's exposure, channel by channel.

    A reference counts at a pixel if it contradicts nothing that the key shows there: light that the key has clipped
    must be bright, channels that it has not clipped must agree. Where a reference is clipped too, its own limit is a
    lower bound of the light, and the largest bound is taken where no reference shows more. Nearer references come
    first; seams are blended in the logarithm of light.

    Args:
        key: (B, 3, H, W), camera code in [0, 1].
        references: frames (B, 3, H, W), camera code in [0, 1], with the motion from the key to each, from near to far.
        tau: see `over_exposure`.
    """
    light, clipped = linearise(key), key >= FULL
    bound, total, summed, shown = light.clone(), *(torch.zeros_like(light) for _ in range(3))
    order = 1.0
    for frame, (flow, gain) in references:
        warped = warp(torch.cat([linearise(frame), (frame >= FULL).float()], 1), flow)
        clue, full = warped[:, :3] * gain, warped[:, 3:] > TOUCHED
        wrong = torch.where(clipped, clue < DARKER, ((clue + DARK) / (light + DARK)).log().abs() > AGREEMENT)
        within = inside(flow)
        usable = within & ~wrong.any(1, keepdim=True) & (gain > LONGER)
        bound = torch.where(usable & clipped, bound.maximum(light.lerp(clue, _feathered(within))), bound)
        share = _feathered(usable & ~full)
        total, summed = total + order * share, summed + order * share * clue.clamp_min(BLACK).log()
        shown, order = shown.maximum(share), order * NEAREST
    filled = shown * summed / total.clamp_min(1e-12) + (1 - shown) * bound.clamp_min(BLACK).log()
    hdr_linear = composite(key, torch.where(clipped, filled.exp(), light), over_exposure(key, tau))
    return Fill(hdr_linear, torch.where(clipped, shown, 1.0))


def _feathered(mask: Tensor) -> Tensor:
    """Return weights in [0, 1] that fall to almost 0 at the edge of a mask (B, C, H, W), and are 0 outside."""
    side = 2 * round(FEATHER * min(mask.shape[2:]) / 2) + 1
    if side < 3:
        return mask.float()
    share = F.avg_pool2d(mask.float(), side, 1, side // 2, count_include_pad=False)
    return torch.where(mask, (2 * share - 1).clamp(1e-3, 1), 0.0)


class Clues(WholeClip):
    """LDR clip in, linear HDR clip out: every frame is filled from the frames around it that show what it has clipped.

    It has no parameters. The output is exactly the linearised input where nothing is clipped.

    Args:
        clues_per_direction: number of references forward and backward each (section 4.1).
        clue_stride: distance from one reference to the next, in frames.
        search: number of further frames, anywhere between the first and the last reference, that are asked for what no
            reference shows: those of the shortest exposures. 0: the paper's fixed strides alone.
        flow: see `VITMTC`.
        flow_weights: see `VITMTC`.
        tau: see `over_exposure`.
    """

    def __init__(
        self,
        clues_per_direction: int = 6,
        clue_stride: int = 15,
        search: int = 4,
        flow: FlowName | Flow = "dis",
        flow_weights: str | Path | None = None,
        tau: float = 0.95,
    ) -> None:
        super().__init__(clues_per_direction, clue_stride, flow, flow_weights)
        if search < 0:
            raise ValueError(f"search must be at least 0, got {search}")
        self.search, self.tau = search, tau

    def _convert(self, clip: ClipStore, times: range, keys: Mapping[int, list[int]]) -> Iterator[Tensor]:
        @cache
        def bright(t: int) -> Tensor:
            return brightness(clip["ldr", t])

        for t in times:
            key = clip["ldr", t]
            gains = {r: _least_gain(bright(t), bright(r)) for r in self._candidates(keys[t])}
            shorter = {r: gain for r, gain in gains.items() if gain > LONGER}  # others clip whatever the key clips
            references = [r for r in keys[t] if r in shorter]
            references += self._searched(t, {r: gain for r, gain in shorter.items() if r not in keys[t]})
            clues = ((clip["ldr", r], estimate_motion(self.estimate, key, clip["ldr", r])) for r in references)
            yield fill_from_clues(key, clues, self.tau).hdr_linear

    def _candidates(self, references: list[int]) -> list[int]:
        """Return the frames that may be asked: a key's references, and those between them where there is a search."""
        between = range(min(references), max(references) + 1, SEARCH_STEP) if references and self.search else ()
        return sorted({*references, *between})

    def _searched(self, t: int, gains: Mapping[int, float]) -> list[int]:
        """Return the times of further references: the shortest exposures, the nearest of equal ones, none adjacent."""
        chosen: list[int] = []
        for r in sorted(gains, key=lambda r: (-round(log2(gains[r]) * 2), abs(r - t))):
            if len(chosen) < self.search and all(abs(r - other) > 2 * SEARCH_STEP for other in chosen):
                chosen.append(r)
        return chosen


def _least_gain(brightness: Tensor, other: Tensor) -> float:
    return float(exposure_ratio(brightness, other).amin())
