"""VITM-TC: key frames are reconstructed from clues of the whole clip, other frames from keys (CVPR 2024, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vitm.nets.flow import FlowName
from vitm.ops.key_frames import key_frames, nearest_keys
from vitm.ops.padding import pad_to_multiple
from vitm.papers.vitm_tc import fcpm
from vitm.papers.vitm_tc.blend import Neighbour, blend_keys
from vitm.papers.vitm_tc.clues import ClueFinder
from vitm.papers.vitm_tc.exposure import composite, over_exposure
from vitm.papers.vitm_tc.fcpm import FCPM, key_image
from vitm.papers.vitm_tc.fill import fill_from_clues
from vitm.papers.vitm_tc.icam import ICAM, STRIDE, Alignment, Reference, Start
from vitm.papers.vitm_tc.motion import Motion, at_common_exposure, brightness, estimate_motion, exposure_ratio
from vitm.papers.vitm_tc.whole_clip import ClipStore, Flow, WholeClip, check_least

CACHE_BYTES = 2**31  # of features that wait to be used again


class VITMTC(WholeClip):
    """LDR clip in, linear HDR clip out, each frame in its own exposure.

    Convention: any number of frames, any height and width (see `ICAM`). Needs the whole clip, since clues may be 90
    frames away and features are propagated from the last frame to the first. The output is at least 0 where nothing is
    clipped, and not clamped.

    A single frame is a key without clues. In black frames nothing is clipped, so they stay black.

    Args:
        clues_per_direction: number of a key's references, forward and backward each.
        clue_stride: distance from one reference to the next, in frames.
        key_stride: distance from one key to the next, in frames.
        neighbours: number of keys that a frame is reconstructed from, see `FCPM`.
        propagation: see `FCPM`; `"none"`: every frame is a key (Table 3, without FCPM); `"blend"`: the keys around a
            frame are blended by `blend_keys`, without a network (not in the paper).
        flow: name of an estimator of `vitm.nets.flow` (the paper: `"gma"`, with weights), or any function of two
            batches of frames that returns the flow from the first to the second. Frozen.
        flow_weights: file of the estimator's weights.
        exposure_match: whether references and reconstructed keys are brought to the exposure of the frame that looks at
            them; otherwise as printed. See `ICAM` and `FCPM`.
        widths: see `ICAM`.
        align: see `ICAM`.
        use_global: see `ICAM`.
        tau: see `over_exposure`.
        checkpointing: see `ICAM`.
        start: see `ICAM`. With `"clues"` the motion to references is that of `estimate_motion`.
        search: see `Clues`; for `start="clues"` only.
    """

    kept_in_half = ("backward",)

    def __init__(
        self,
        clues_per_direction: int = 6,
        clue_stride: int = 15,
        key_stride: int = 6,
        neighbours: int = 5,
        propagation: fcpm.Propagation | Literal["blend", "none"] = "both",
        flow: FlowName | Flow = "dis",
        flow_weights: str | Path | None = None,
        exposure_match: bool = True,
        widths: tuple[int, int, int, int, int] = (48, 64, 96, 128, 192),
        align: Alignment = "dcn",
        use_global: bool = True,
        tau: float = 0.95,
        checkpointing: bool = False,
        start: Start = "key",
        search: int = 0,
    ) -> None:
        super().__init__(clues_per_direction, clue_stride, flow, flow_weights)
        check_least(key_stride=(key_stride, 1), neighbours=(neighbours, 1), search=(search, 0))
        if search and start != "clues":
            raise ValueError(f"search={search} looks for frames to fill a key from: it needs start='clues'")
        self.search, self.propagation, self.neighbours = search, propagation, neighbours
        self.key_stride = 1 if propagation == "none" else key_stride
        self.icam = ICAM(
            widths,
            align,
            use_global,
            exposure_match=exposure_match,
            tau=tau,
            checkpointing=checkpointing,
            start=start,
        )
        self.fcpm = None
        if propagation != "none" and propagation != "blend":
            self.fcpm = FCPM(propagation, neighbours, exposure_match, tau)

    def window(self, ldr: Mapping[int, Tensor], times: range, keys: Mapping[int, Sequence[int]]) -> Tensor:
        """Convert consecutive frames of a clip of which only some frames are given. For training.

        Args:
            ldr: time -> frames (B, 3, H, W), camera code in [0, 1]: those of the window, the keys and their clues.
            times: frame numbers of the window.
            keys: time of each key -> times of its clues, in the order in which they are folded in.

        Returns:
            Linear light (B, T, 3, H, W) of the window, fp32.
        """
        clip: ClipStore = {("ldr", t): pad_to_multiple(frame, STRIDE) for t, frame in ldr.items()}
        height, width = ldr[times[0]].shape[2:]
        return torch.stack([*self._convert(clip, times, keys)], 1)[..., :height, :width]

    def stream(
        self,
        frames: Iterable[Tensor],
        max_clues: int | None = None,
        exact: bool = False,
        folder: Path | str | None = None,
        every: int = 1,
    ) -> Iterator[Tensor]:
        """Convert a clip of any length in bounded memory; see `WholeClip.stream`.

        The features of the backward propagation take 128 bytes a pixel and frame on disk, or twice that if `exact`.

        Raises:
            ValueError: also if frames are to be left out where features are propagated through them.
        """
        if every != 1 and self.fcpm is not None:
            raise ValueError(f"every={every} leaves out frames that FCPM needs: it is for propagation='none'")
        return super().stream(frames, max_clues, exact, folder, every)

    def _schedule(self, times: range, n: int, max_clues: int | None) -> dict[int, list[int]]:
        if self.propagation == "none":
            return super()._schedule(times, n, max_clues)
        known = key_frames(n, self.key_stride) if n else []
        keys = {key for t in times for key in nearest_keys(t, known, self.neighbours)}
        return self._with_clues(keys, n, max_clues)

    def _convert(self, clip: ClipStore, times: range, keys: Mapping[int, Sequence[int]]) -> Iterator[Tensor]:
        """Yield frames one after another; take "ldr" of them, of the keys and of their clues from the clip."""
        if not times:
            return
        self._reconstruct_keys(clip, keys)
        if self.propagation == "none":
            for t in times:
                yield clip.pop(("key", t))[:, :3]
            return
        if self.fcpm is None:
            known = lru_cache(maxsize=self.neighbours + 1)(lambda t: brightness(clip["ldr", t]))
            for t in times:
                near = nearest_keys(t, sorted(keys), self.neighbours)
                yield blend_keys(clip["ldr", t], (self._neighbour(clip, t, key, known) for key in near), self.icam.tau)
            return
        self._look_back(clip, self.fcpm, {t: nearest_keys(t, sorted(keys), self.fcpm.neighbours) for t in times})
        yield from self._look_ahead(clip, self.fcpm, times)

    def _reconstruct_keys(self, clip: ClipStore, keys: Mapping[int, Sequence[int]]) -> None:
        """Put "key" into the clip.

        Keys that are a multiple of the clue stride apart share references, others do not: taken in this order, the
        features of a frame are computed once, and few of them wait.
        """
        ldr = clip["ldr", next(iter(keys))]
        size = 4 * self.icam.channels * ldr[:, 0].numel()

        @lru_cache(maxsize=min(2 * self.clues_per_direction + 2, max(2, CACHE_BYTES // size)))
        def features(t: int) -> Tensor:
            return self.icam.encode(clip["ldr", t])

        find = ClueFinder(self, clip, self.search) if self.icam.start == "clues" else None
        for t in sorted(keys, key=lambda t: (t % self.clue_stride, t)):
            ldr = clip["ldr", t]
            fill = None if find is None else fill_from_clues(ldr, find(t, keys[t]), self.icam.tau)
            folded = keys[t] if self.icam.fusion is not None else ()
            references = (self._reference(ldr, clip["ldr", r], features(r)) for r in folded)
            reconstruction = self.icam.aggregate(ldr, features(t), references, fill)
            if find is None and self.icam.align_by != "none":  # else the finder tells
                for r, flow in zip(folded, reconstruction.flows.unbind(1), strict=True):
                    self.tell(t, r, ldr, flow)
            clip["key", t] = key_image(reconstruction.hdr_linear, ldr, self.icam.tau)
            if self.propagation == "blend":
                guessed = clip["key", t][:, 3:]
                clip["confidence", t] = 1 - guessed if fill is None else fill.confidence.amin(1, keepdim=True)

    def _neighbour(self, clip: ClipStore, t: int, key: int, brightness: Callable[[int], Tensor]) -> Neighbour:
        frame, other = clip["ldr", t], clip["ldr", key]
        flow = frame.new_zeros(len(frame), 2, *frame.shape[2:])
        if t != key:
            gain = exposure_ratio(brightness(t), brightness(key))
            flow = self.estimate(*at_common_exposure(frame, other, gain))
        return Neighbour(clip["key", key], clip["confidence", key], flow, abs(t - key) / self.key_stride)

    def _reference(self, key: Tensor, frame: Tensor, features: Tensor) -> Reference:
        return self.icam.reference(key, frame, self.reference_motion(key, frame).flow, features)

    def _look_back(self, clip: ClipStore, fcpm: FCPM, near: dict[int, list[int]]) -> None:
        """Go from the last frame to the first: put "merged", "backward" and the "flow" to the frame before."""
        correction = self.icam.correction

        first = clip["ldr", next(iter(near))]
        waiting = min(fcpm.neighbours + 3, max(2, CACHE_BYTES // (8 * self.icam.channels * first[:, 0].numel())))

        @lru_cache(maxsize=waiting)
        def features(t: int) -> Tensor:
            return self.icam.encode(clip["ldr", t])

        @lru_cache(maxsize=waiting)
        def share(t: int, role: int) -> Tensor:
            assert correction is not None
            return correction.share(features(t), role)

        @lru_cache(maxsize=2 * fcpm.neighbours)
        def flow(t: int, other: int) -> Tensor:
            source, target = clip["ldr", t], clip["ldr", other]
            if t == other:
                return source.new_zeros(len(source), 2, *source.shape[2:])
            estimated = self.estimate(source, target)
            if correction is None:
                return estimated
            gain = self.icam.gain(source, target, estimated)
            shares = share(t, 0), share(other, 1) * gain
            corrected: Tensor = correction(features(t), features(other) * gain, estimated, shares)
            return corrected

        merged_after: Tensor | None = None
        state: Tensor | None = None
        for t in reversed(near):
            merged = fcpm.merge(clip["ldr", t], [clip["key", k] for k in near[t]], [flow(t, k) for k in near[t]])
            clip["merged", t] = merged
            if fcpm.backward_step is not None:
                to_after = flow(t, t + 1) if t + 1 in near else None
                state = fcpm.backward_step(merged, merged_after, state, to_after)
                clip["backward", t] = state
            if fcpm.forward_step is not None and t - 1 in near:
                clip["flow", t] = flow(t, t - 1)
            merged_after = merged

    def _look_ahead(self, clip: ClipStore, fcpm: FCPM, window: range) -> Iterator[Tensor]:
        """Go from the first frame to the last; take from the clip what `_look_back` has put there."""
        merged_before: Tensor | None = None
        state: Tensor | None = None
        for t in window:
            ldr, merged, states = clip["ldr", t], clip.pop(("merged", t)), []
            if fcpm.forward_step is not None:
                state = fcpm.forward_step(merged, merged_before, state, clip.pop(("flow", t), None))
                states.append(state)
            if fcpm.backward_step is not None:
                states.append(clip.pop(("backward", t)))
            merged_before = merged
            yield composite(ldr, fcpm.finish(merged, states), over_exposure(ldr, self.icam.tau))

    def reference_motion(self, key: Tensor, reference: Tensor) -> Motion:
        """Estimate the motion that ICAM begins with: flow, zero where it needs none; the gain for `start="clues"`."""
        if self.icam.start == "clues":
            return estimate_motion(self.estimate, key, reference)
        still = self.icam.align_by == "none"
        flow = key.new_zeros(len(key), 2, *key.shape[2:]) if still else self.estimate(key, reference)
        return Motion(flow, key.new_ones(len(key), 1, 1, 1))
