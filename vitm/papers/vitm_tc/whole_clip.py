"""What networks share that need a whole clip at once: its frames wait on disk, keys have clues, keys make frames."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator
from vitm.ops.key_frames import clues
from vitm.ops.padding import pad_to_multiple
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.papers.vitm_tc.icam import STRIDE
from vitm.papers.vitm_tc.spill import Spill, Stored

Flow = FlowEstimator | Callable[[Tensor, Tensor], Tensor]
ClipStore = MutableMapping[
    Stored, Tensor
]  # what is known of a clip's frames: "ldr", "key", "merged", "backward", "flow"
FlowListener = Callable[[int, int, Tensor, Tensor], None]
"""Takes the times of a key and of its reference, the key (B, 3, H, W), and the flow (B, 2, H, W) to the reference."""


class WholeClip(nn.Module, ABC):
    """LDR clip in, linear HDR clip out, each frame in its own exposure, with clues from frames far away.

    Args:
        clues_per_direction: number of a key's references, forward and backward each.
        clue_stride: distance from one reference to the next, in frames.
        flow: name of an estimator of `vitm.nets.flow`, or any function of two batches of frames that returns the flow
            from the first to the second. Frozen.
        flow_weights: file of the estimator's weights.

    Attributes:
        on_flow: is told of each flow from a key to a reference, as it is used; None: nothing is.

    Raises:
        ValueError: a number is too small.
    """

    context = sys.maxsize  # frames before a frame that its result depends on: all
    kept_in_half: ClassVar[tuple[str, ...]] = ()  # names of what `stream` keeps on disk in half precision

    def __init__(
        self, clues_per_direction: int, clue_stride: int, flow: FlowName | Flow, flow_weights: str | Path | None
    ) -> None:
        super().__init__()
        check_least(clues_per_direction=(clues_per_direction, 0), clue_stride=(clue_stride, 1))
        self.folder: Path | str | None = None
        self.on_flow: FlowListener | None = None
        self.clues_per_direction = clues_per_direction
        self.clue_stride = clue_stride
        self.flow: Flow = flow_estimator(flow, flow_weights) if isinstance(flow, str) else flow

    def forward(self, ldr: Tensor, window: tuple[int, int] | None = None, max_clues: int | None = None) -> Tensor:
        """Convert a clip.

        Args:
            ldr: (B, T, 3, H, W), camera code in [0, 1], T >= 1.
            window: first time and the time after the last of the frames to convert; the others are still keys and
                references. What is propagated from frame to frame is so within the window. For training.
            max_clues: largest number of a key's references, the nearest ones (Figure 7); None: all.

        Returns:
            Linear light (B, T, 3, H, W), or that of the window, fp32.

        Raises:
            ValueError: if the shape is another, the window is not inside the clip, or `max_clues` is negative.
        """
        _check_clues(max_clues)
        if ldr.ndim != 5 or ldr.shape[1] < 1 or ldr.shape[2] != 3:
            raise ValueError(f"expected ldr of shape (B, T, 3, H, W), T >= 1, got {tuple(ldr.shape)}")
        n = ldr.shape[1]
        start, stop = window or (0, n)
        if not 0 <= start < stop <= n:
            raise ValueError(f"the window {start}, {stop} is not inside a clip of {n} frames")
        clip: ClipStore = {("ldr", t): pad_to_multiple(frame, STRIDE) for t, frame in enumerate(ldr.unbind(1))}
        times = range(start, stop)
        out = torch.stack([*self._convert(clip, times, self._schedule(times, n, max_clues))], 1)
        return out[..., : ldr.shape[3], : ldr.shape[4]]

    @torch.no_grad()
    def stream(
        self,
        frames: Iterable[Tensor],
        max_clues: int | None = None,
        exact: bool = False,
        folder: Path | str | None = None,
        every: int = 1,
    ) -> Iterator[Tensor]:
        """Convert a clip of any length in bounded memory; what waits for its turn lies on disk.

        Equal to `forward` but for what lies on disk in half precision (`kept_in_half`). Nothing comes out before all
        frames are in.

        Args:
            frames: ldr (B, 3, H, W), camera code in [0, 1], all of one size.
            max_clues: see `forward`.
            exact: whether everything is kept in single precision.
            folder: parent of the temporary folder (default: the attribute `folder`, or else the system's place); the
                temporary folder is removed at the end, also after an error.
            every: distance of the frames that are converted, from frame 0 on.

        Yields:
            Linear light (B, 3, H, W), fp32, one for each frame and in the same order.

        Raises:
            ValueError: if a frame has another size than the first one, or `max_clues` is negative.
        """
        _check_clues(max_clues)
        with Spill(() if exact else self.kept_in_half, folder or self.folder) as clip:
            n, shape = 0, torch.Size()
            for n, frame in enumerate(frames, 1):
                shape = frame.shape if n == 1 else shape
                if frame.ndim != 4 or frame.shape[1] != 3 or frame.shape != shape:
                    raise ValueError(
                        f"expected frames (B, 3, H, W) of one size, got {tuple(frame.shape)} as frame {n} after "
                        f"{tuple(shape)}"
                    )
                clip["ldr", n - 1] = pad_to_multiple(frame, STRIDE)
            times = range(0, n, every)
            for hdr_linear in self._convert(clip, times, self._schedule(times, n, max_clues)):
                yield hdr_linear[..., : shape[2], : shape[3]]

    def _schedule(self, times: range, n: int, max_clues: int | None) -> dict[int, list[int]]:
        """Return the keys that the frames at some times need, here each its own, and the clues of each."""
        return self._with_clues(times, n, max_clues)

    def _with_clues(self, keys: Iterable[int], n: int, max_clues: int | None) -> dict[int, list[int]]:
        return {t: clues(t, n, self.clues_per_direction, self.clue_stride)[:max_clues] for t in sorted(keys)}

    @abstractmethod
    def _convert(self, clip: ClipStore, times: range, keys: Mapping[int, list[int]]) -> Iterator[Tensor]:
        """Yield frames one after another; take "ldr" of them, of the keys and of their clues from the clip."""

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, as conversions show it: see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)

    def tell(self, t: int, r: int, key: Tensor, flow: Tensor) -> None:
        """Tell `on_flow`, if there is one, of the flow from a key at a time to its reference at another."""
        if self.on_flow is not None:
            self.on_flow(t, r, key, flow)

    def estimate(self, source: Tensor, target: Tensor) -> Tensor:
        """Estimate the flow from frames to others of their size, (B, 2, H, W), without gradients (equation 2)."""
        with torch.no_grad():
            return self.flow(source, target)


def check_least(**numbers: tuple[int, int]) -> None:
    """Raise a ValueError for the first argument, a number and the least that it may be, that is below it."""
    for name, (number, least) in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")


def _check_clues(max_clues: int | None) -> None:
    if max_clues is not None and max_clues < 0:
        raise ValueError(f"max_clues must be at least 0, or None for all, got {max_clues}")
