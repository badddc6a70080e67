"""Clues without a network: what a key has clipped is copied from frames that show it.

Not in the paper. It is the least that a network of this kind has to beat, and needs neither training nor weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import log2
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from vitm.nets.flow import FlowName
from vitm.papers.vitm_tc.fill import FULL, LONGER, fill_from_clues
from vitm.papers.vitm_tc.motion import Motion, brightness, estimate_motion, exposure_ratio
from vitm.papers.vitm_tc.whole_clip import ClipStore, Flow, WholeClip, check_least

SEARCH_STEP = 3  # frames from one frame that may be searched to the next


class Clue(NamedTuple):
    """A reference that may show what a key has clipped.

    Attributes:
        frame: (B, 3, H, W), camera code in [0, 1].
        motion: motion from the key to it.
    """

    frame: Tensor
    motion: Motion


class ClueFinder:
    """What the frames of a clip can tell about one of them: exposures are measured once, motion when it is asked for.

    Args:
        network: network whose flow estimator is asked.
        clip: frames, under "ldr".
        search: see `Clues`.
    """

    def __init__(self, network: WholeClip, clip: ClipStore, search: int) -> None:
        self.network, self.clip, self.search = network, clip, search
        self._brightness = cache(lambda t: brightness(clip["ldr", t]))

    def __call__(self, t: int, references: Sequence[int]) -> Iterator[Clue]:
        """Yield the references of a key that are exposed shorter, then those that the search adds.

        None where the key has clipped nothing.

        Args:
            t: time of the key.
            references: times of its references, from near to far.
        """
        key, candidates = self.clip["ldr", t], self._candidates(references)
        if not candidates or not (key >= FULL).any():
            return
        ratios = {r: exposure_ratio(self._brightness(t), self._brightness(r)) for r in candidates}
        gains = {r: float(ratio.amin()) for r, ratio in ratios.items()}
        shorter = {r: gain for r, gain in gains.items() if gain > LONGER}  # others clip whatever the key clips
        searched = self._searched(t, {r: gain for r, gain in shorter.items() if r not in references})
        for r in [*(r for r in references if r in shorter), *searched]:
            frame = self.clip["ldr", r]
            motion = estimate_motion(self.network.estimate, key, frame, ratios[r])
            self.network.tell(t, r, key, motion.flow)
            yield Clue(frame, motion)

    def _candidates(self, references: Sequence[int]) -> list[int]:
        """Return the frames that may be asked: a key's references, and those between them where there is a search."""
        between = range(min(references), max(references) + 1, SEARCH_STEP) if references and self.search else ()
        return sorted({*references, *(r for r in between if ("ldr", r) in self.clip)})

    def _searched(self, t: int, gains: Mapping[int, float]) -> list[int]:
        """Return the times of further references: the shortest exposures, the nearest of equal ones, none adjacent."""
        chosen: list[int] = []
        for r in sorted(gains, key=lambda r: (-round(log2(gains[r]) * 2), abs(r - t))):
            if len(chosen) < self.search and all(abs(r - other) > 2 * SEARCH_STEP for other in chosen):
                chosen.append(r)
        return chosen


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
        check_least(search=(search, 0))
        self.search, self.tau = search, tau

    def _convert(self, clip: ClipStore, times: range, keys: Mapping[int, list[int]]) -> Iterator[Tensor]:
        clues = ClueFinder(self, clip, self.search)
        for t in times:
            yield fill_from_clues(clip["ldr", t], clues(t, keys[t]), self.tau).hdr_linear
