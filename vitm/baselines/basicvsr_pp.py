"""BasicVSR++ without super-resolution: features propagate twice in either direction, each from two frames at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.srresnet import ResidualBlock
from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator
from vitm.ops.deform import DeformConv2d
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps
from vitm.ops.warp import warp
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.papers.vitm_tc.exposure import composite, linearise, over_exposure
from vitm.papers.vitm_tc.spill import Spill, Stored

Flow = FlowEstimator | Callable[[Tensor, Tensor], Tensor]
ClipStore = MutableMapping[Stored, Tensor]  # of a clip's frames: "ldr", "features", "ahead", "back" and the branches
BRANCHES = ("backward_1", "forward_1", "backward_2", "forward_2")
SCALE = 4  # by which features are smaller than frames


class Trunk(nn.Sequential):
    """A 3x3 convolution and residual blocks, (B, inputs, H, W) -> (B, width, H, W)."""

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks))),
        )


class SecondOrderAlignment(nn.Module):
    """The flow-guided deformable alignment of two frames at once (section 3.2).

    It starts without residues.

    Args:
        width: number of channels of a frame's features.
        groups: number of deformable groups, half of them for either frame.
        max_residue: largest learned residue of the offsets, in pixels.
    """

    def __init__(self, width: int, groups: int = 16, max_residue: float = 10.0) -> None:
        super().__init__()
        self.max_residue = max_residue
        layers: list[nn.Module] = []
        for inputs in (3 * width + 4, width, width):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        self.offset = nn.Sequential(*layers, nn.Conv2d(width, 27 * groups, 3, padding=1))
        self.deform = DeformConv2d(2 * width, width, 3)
        nn.init.zeros_(self.offset[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.offset[-1].bias)  # type: ignore[arg-type]

    def forward(self, current: Tensor, near: Tensor, far: Tensor, near_flow: Tensor, far_flow: Tensor) -> Tensor:
        """Align the states of two frames with a third one.

        Args:
            current: features g_i of the frame (B, C, H, W).
            near: state of the frame before it in the direction of propagation, the same shape.
            far: state of the frame before that one; zeros where there is none.
            near_flow: flow from the frame to the nearer one (B, 2, H, W), pixels, x first.
            far_flow: flow from the frame to the farther one; zeros where there is none.

        Returns:
            The aligned state (B, C, H, W).
        """
        warped = warp(near, near_flow), warp(far, far_flow)
        seen = torch.cat([warped[0], current, warped[1], near_flow, far_flow], 1)
        offset, mask = self.offset(seen).float().split([2 * self.deform_channels, self.deform_channels], 1)
        repeats = self.deform_channels // 2
        base = torch.cat([flow.flip(1).repeat(1, repeats, 1, 1) for flow in (near_flow, far_flow)], 1)
        offset = base + self.max_residue * offset.tanh()  # flow is (dx, dy)
        aligned: Tensor = self.deform(torch.cat([near, far], 1), offset, mask.sigmoid())
        return aligned

    @property
    def deform_channels(self) -> int:
        """Number of channels of the mask: taps of all groups."""
        last = self.offset[-1]
        assert isinstance(last, nn.Conv2d)
        return last.out_channels // 3


class BasicVSRPP(nn.Module):
    """A recurrent video restoration network that sees all frames; here it fills what is over-exposed.

    Chan et al., "BasicVSR++: Improving Video Super-Resolution with Enhanced Propagation and Alignment", CVPR 2022, in
    its form for restoration at the size of the input (released code and weights: Apache-2.0): features at a quarter of
    the size, four propagations, sub-pixel convolutions back. VITM-TC compares with it on the same frames and lets it
    "only reconstruct the over-exposed regions". Assumed: the network adds to the camera code, which may go on above 1,
    is then linearised, and blended by VITM-TC's equation 1. The flow is that of `vitm.nets.flow`, frozen, where the
    paper trains SPyNet; 5,956,483 parameters without it.

    Convention: any number of frames, any height and width; padded to multiples of 4 by reflection, and cropped back.
    Needs the whole clip.

    Args:
        width: number of channels of the features.
        blocks: number of residual blocks of a propagation step.
        max_residue: see `SecondOrderAlignment`.
        flow: name of an estimator of `vitm.nets.flow`, or any function of two batches of frames that returns the flow
            from the first to the second, at a quarter of the size.
        flow_weights: file of the estimator's weights.
        tau: see `over_exposure`.
    """

    context = sys.maxsize  # frames before a frame that its result depends on: all

    def __init__(
        self,
        width: int = 64,
        blocks: int = 7,
        max_residue: float = 10.0,
        flow: FlowName | Flow = "dis",
        flow_weights: str | Path | None = None,
        tau: float = 0.95,
    ) -> None:
        super().__init__()
        self.folder: Path | str | None = None
        self.width, self.tau = width, tau
        self.flow: Flow = flow_estimator(flow, flow_weights) if isinstance(flow, str) else flow
        act = nn.LeakyReLU(0.1, inplace=True)
        down = (nn.Conv2d(n, width, 3, stride=2, padding=1) for n in (3, width))
        self.extract = nn.Sequential(next(down), act, next(down), act, Trunk(width, width, 5))
        groups = 16 if width % 8 == 0 else 2
        self.align = nn.ModuleDict({b: SecondOrderAlignment(width, groups, max_residue) for b in BRANCHES})
        self.backbone = nn.ModuleDict({b: Trunk((2 + i) * width, width, blocks) for i, b in enumerate(BRANCHES)})
        self.reconstruct = Trunk(5 * width, width, 5)
        self.up = nn.ModuleList(nn.Conv2d(width, 4 * width, 3, padding=1) for _ in range(2))
        self.tail = nn.Sequential(nn.Conv2d(width, 64, 3, padding=1), act, nn.Conv2d(64, 3, 3, padding=1))

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert a clip.

        Args:
            ldr: (B, T, 3, H, W), camera code in [0, 1], T >= 1.

        Returns:
            Linear light (B, T, 3, H, W), each frame in its own exposure, fp32.

        Raises:
            ValueError: if the shape is another.
        """
        if ldr.ndim != 5 or ldr.shape[1] < 1 or ldr.shape[2] != 3:
            raise ValueError(f"expected ldr of shape (B, T, 3, H, W), T >= 1, got {tuple(ldr.shape)}")
        clip: ClipStore = {("ldr", t): pad_to_multiple(frame, SCALE) for t, frame in enumerate(ldr.unbind(1))}
        frames = torch.stack([*self._convert(clip, ldr.shape[1])], 1)
        return frames[..., : ldr.shape[3], : ldr.shape[4]]

    @torch.no_grad()
    def stream(
        self, frames: Iterable[Tensor], exact: bool = False, folder: Path | str | None = None
    ) -> Iterator[Tensor]:
        """Convert a clip of any length in bounded memory; what waits for its turn lies on disk.

        Equal to `forward` but for the features, which lie on disk in half precision: 32 bytes a pixel and frame.
        Nothing comes out before all frames are in.

        Args:
            frames: ldr (B, 3, H, W), camera code in [0, 1], all of one size.
            exact: whether features are kept in single precision, which takes twice the space.
            folder: parent of the temporary folder (default: the attribute `folder`, or else the system's place).

        Yields:
            Linear light (B, 3, H, W), fp32, one for each frame and in the same order.

        Raises:
            ValueError: if a frame has another size than the first one.
        """
        half = () if exact else ("features", *BRANCHES)
        with Spill(half=half, folder=folder or self.folder) as clip:
            n, shape = 0, torch.Size()
            for n, frame in enumerate(frames, 1):
                shape = frame.shape if n == 1 else shape
                if frame.ndim != 4 or frame.shape[1] != 3 or frame.shape != shape:
                    raise ValueError(
                        f"expected frames (B, 3, H, W) of one size, got {tuple(frame.shape)} as frame {n} after "
                        f"{tuple(shape)}"
                    )
                clip["ldr", n - 1] = pad_to_multiple(frame, SCALE)
            for linear in self._convert(clip, n):
                yield linear[..., : shape[2], : shape[3]]

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)

    def _convert(self, clip: ClipStore, n: int) -> Iterator[Tensor]:
        """Yield frames one after another; take "ldr" from the clip, and put there what other frames need."""
        self._look(clip, n)
        for branch in BRANCHES[:-1]:
            for t, state in self._propagate(clip, branch, n):
                clip[branch, t] = state
        for t, state in self._propagate(clip, BRANCHES[-1], n):
            others = (clip.pop((name, t)) for name in ("features", *BRANCHES[:-1]))
            ldr = clip.pop(("ldr", t))
            predicted = linearise((self._restore(torch.cat([*others, state], 1)) + ldr).relu())
            yield composite(ldr, predicted, over_exposure(ldr, self.tau))  # eq. 1 of VITM-TC

    def _look(self, clip: ClipStore, n: int) -> None:
        """Put the features of all frames into the clip, and the flow to the next frame and to the one before."""
        small_before: Tensor | None = None
        for t in range(n):
            ldr = clip["ldr", t]
            clip["features", t] = self.extract(ldr)
            small = F.avg_pool2d(ldr, SCALE)
            if small_before is not None:
                with torch.no_grad():
                    clip["back", t] = self.flow(small, small_before)
                    clip["ahead", t - 1] = self.flow(small_before, small)
            small_before = small

    def _propagate(self, clip: ClipStore, branch: str, n: int) -> Iterator[tuple[int, Tensor]]:
        """Yield time and state of each frame, in the branch's direction (section 3.1)."""
        earlier = BRANCHES[: BRANCHES.index(branch)]
        backwards = branch.startswith("backward")
        near = far = near_flow = None
        for t in reversed(range(n)) if backwards else range(n):
            current = clip["features", t]
            aligned, flow = torch.zeros_like(current), None
            if near is not None:
                flow = clip["ahead" if backwards else "back", t]
                far_flow = torch.zeros_like(flow) if near_flow is None else flow + warp(near_flow, flow)
                far_state = torch.zeros_like(near) if far is None else far
                aligned = self.align[branch](current, near, far_state, flow, far_flow)
            inputs = [current, *(clip[b, t] for b in earlier), aligned]
            state = aligned + self.backbone[branch](torch.cat(inputs, 1))
            near, far, near_flow = state, near, flow
            yield t, state

    def _restore(self, states: Tensor) -> Tensor:
        """Return what is added to the code, (B, 3, H, W), from all states of a frame."""
        x = self.reconstruct(states)
        if needs_whole_maps(self, x):
            return self._enlarge(x)
        return map_rows(self._enlarge, (x,), halo=3, band=32)

    def _enlarge(self, x: Tensor) -> Tensor:
        for up in self.up:
            x = F.leaky_relu_(F.pixel_shuffle(up(x), 2), 0.1)
        out: Tensor = self.tail(x)
        return out
