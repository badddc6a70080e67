"""DSLNet: dynamic alignment, spatial-temporal modulation, large kernels; consecutive SDR frames to one HDR10 frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.nets.windows import windows
from vitm.ops.tiling import needs_whole_maps
from vitm.papers.dslnet.alignment import DMFA, StackedConvs
from vitm.papers.dslnet.bands import convert_in_bands
from vitm.papers.dslnet.layers import LKRB, Blocks, PlainBlock, conv3x3, plain_convs
from vitm.papers.dslnet.modulation import SMALLEST, Coefficients, FrameCode, Modulation

PLAIN_CONVS = 7  # in place of a module, which makes 1,029,181 parameters without modulation: Table 5's 1.03 M


class DSLNet(nn.Module):
    """Consecutive SDR frames in, the middle one as HDR10 out. The defaults have 930,941 parameters (Table 1: 0.93 M).

    Convention: any height and width of at least 17; odd ones are padded by replication and cropped back. The output is
    not clamped. The network looks at averages over the whole frame, so crops of a frame do not give crops of the
    result. Without gradients it works in bands of rows with two full-resolution feature maps in memory.

    Args:
        radius: number T of frames on either side of the target frame. The paper does not state it; 2 fits its numbers
            of parameters.
        width: channels of every feature map.
        kernel_size: size of the large depthwise convolutions (LDOE and LKRB).
        dynamic_kernel: size of LDOE's dynamic convolution.
        alignment: form of alignment. `"dmfa"`; `"convs"`: stacked plain convolutions (Table 4, w/o Align); `"none"`:
            one convolution of the target frame (Table 2, M0 to M4).
        dmfa_dynamic: whether LDOE's middle kernels are predicted (Table 2, M7), or learnt (M5).
        deform: version of the deformable convolution: without a mask (`"v1"`, as cited) or with one (`"v2"`).
        dyn_norm: see `vitm.papers.dslnet.alignment.DynamicDepthwise`.
        use_tfm: whether there is temporal feature modulation (M3).
        use_cfm: whether there is feature modulation by the target frame (M1).
        use_sfm: whether there is spatial feature modulation (M4).
        without_modulation: replacement of the modulation branch where all three are off: `"convs"` (Table 5) or
            `"nothing"` (Table 2, M0).
        share_modulation: whether the three repetitions share their coefficients.
        colorblock: form of the colour block: `"hdrtvnet"`, or `"literal"`, the order of equation 2.
        residual: kind of the residual branch's blocks: `"lk"` (M2) or `"plain"`.
        lkrb_order: `"text"` or `"eq8"`, see `vitm.papers.dslnet.layers.LKRB`.
        use_lkqe: whether there is large-kernel quality enhancement (M6).
        neighbours: form of DMFA's weights for the frames around the target. `"own"`; or `"differences"`: of their
            differences from it, the same convolutions from a start that cannot hurt (not in the paper).
    """

    def __init__(
        self,
        radius: int = 2,
        width: int = 64,
        kernel_size: int = 17,
        dynamic_kernel: int = 7,
        alignment: Literal["dmfa", "convs", "none"] = "dmfa",
        dmfa_dynamic: bool = True,
        deform: Literal["v1", "v2"] = "v1",
        dyn_norm: Literal["layer", "batch"] = "layer",
        use_tfm: bool = True,
        use_cfm: bool = True,
        use_sfm: bool = True,
        without_modulation: Literal["convs", "nothing"] = "convs",
        share_modulation: bool = False,
        colorblock: Literal["hdrtvnet", "literal"] = "hdrtvnet",
        residual: Literal["lk", "plain"] = "lk",
        lkrb_order: Literal["text", "eq8"] = "text",
        use_lkqe: bool = True,
        neighbours: Literal["own", "differences"] = "own",
    ) -> None:
        super().__init__()
        for name, option, choices in (
            ("alignment", alignment, ("dmfa", "convs", "none")),
            ("deform", deform, ("v1", "v2")),
            ("dyn_norm", dyn_norm, ("layer", "batch")),
            ("without_modulation", without_modulation, ("convs", "nothing")),
            ("colorblock", colorblock, ("hdrtvnet", "literal")),
            ("residual", residual, ("lk", "plain")),
            ("lkrb_order", lkrb_order, ("text", "eq8")),
            ("neighbours", neighbours, ("own", "differences")),
        ):
            if option not in choices:
                raise ValueError(f"{name} is {option!r}; expected {' or '.join(map(repr, choices))}")
        if radius < 0 or width < 4 or kernel_size % 2 == 0 or dynamic_kernel % 2 == 0:
            raise ValueError(
                f"expected radius >= 0, width >= 4 and odd kernels, got radius={radius}, width={width}, "
                f"kernel_size={kernel_size}, dynamic_kernel={dynamic_kernel}"
            )
        self.radius, self.context, self.target_only = radius, radius, alignment == "none"
        frames = 2 * radius + 1
        self.align: DMFA | StackedConvs
        if alignment == "dmfa":
            self.align = DMFA(
                frames,
                width,
                kernel_size,
                dynamic_kernel,
                dmfa_dynamic,
                dyn_norm,
                modulated=deform == "v2",
                differences=neighbours == "differences",
            )
        else:
            count = 1 if self.target_only else 1 + PLAIN_CONVS
            self.align = StackedConvs(1 if self.target_only else frames, width, count)

        def blocks(kind: Literal["lk", "plain"]) -> Blocks:
            lk = kind == "lk"
            return Blocks(*(LKRB(width, kernel_size, lkrb_order) if lk else PlainBlock(width) for _ in range(4)))

        self.modulation: Modulation | None = None
        self.plain_branch: nn.Sequential | None = None
        if use_tfm or use_cfm or use_sfm:
            self.modulation = Modulation(frames, width, use_tfm, use_cfm, use_sfm, share_modulation, colorblock)
        elif without_modulation == "convs":
            self.plain_branch = plain_convs(width, width, PLAIN_CONVS)
        self.head = nn.Sequential(conv3x3(width, width), nn.LeakyReLU(), conv3x3(width, width), nn.LeakyReLU())
        self.blocks = blocks(residual)
        self.skip = conv3x3(width, width)
        self.enhance_head = nn.Sequential(conv3x3(width, width), nn.ReLU()) if use_lkqe else None
        self.enhance = blocks("lk") if use_lkqe else Blocks()
        self.last = conv3x3(width, 3)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert the middle frame of windows.

        Args:
            sdr: (B, 2 radius + 1, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 17.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another one.
        """
        n = 2 * self.radius + 1
        if sdr.ndim != 5 or sdr.shape[1:3] != (n, 3) or min(sdr.shape[3:]) < SMALLEST:
            raise ValueError(f"expected sdr of shape (B, {n}, 3, H, W) with H, W >= {SMALLEST}, got {tuple(sdr.shape)}")
        frames = list(sdr.unbind(1))
        return self._convert(frames, self._codes(frames))

    @torch.no_grad()
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip of any length with the memory of one window; ConditionNet sees each frame once.

        Equal to `forward` on each frame's window; before the first and after the last frame these are repeated.

        Args:
            frames: an iterator of sdr (B, 3, H, W), BT.709 gamma code in [0, 1], all of one size.

        Yields:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped, one for each frame and in the same order.

        Raises:
            ValueError: if frames have another shape, or differ in size.
        """
        size: torch.Size | None = None

        def coded() -> Iterator[tuple[Tensor, list[FrameCode]]]:
            nonlocal size
            for i, frame in enumerate(frames):
                size = size or frame.shape
                if frame.ndim != 4 or frame.shape[1] != 3 or min(frame.shape[2:]) < SMALLEST:
                    raise ValueError(
                        f"expected frames (B, 3, H, W) with H, W >= {SMALLEST}, got {tuple(frame.shape)} as frame {i}"
                    )
                if frame.shape != size:
                    raise ValueError(f"frame {i} is {tuple(frame.shape)}, those before it {tuple(size)}; give one size")
                yield frame, self._codes([frame])

        for window in windows(coded(), self.radius):
            yield self._convert([frame for frame, _ in window], [code for _, codes in window for code in codes])

    def _codes(self, frames: list[Tensor]) -> list[FrameCode]:
        """Return what ConditionNet says of each frame; nothing without modulation."""
        return [] if self.modulation is None else [self.modulation.code(frame) for frame in frames]

    def _convert(self, frames: list[Tensor], codes: list[FrameCode]) -> Tensor:
        target = frames[self.radius]
        height, width = target.shape[2:]
        x = target if self.target_only else torch.cat(frames, dim=1)
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        coefficients = None if self.modulation is None else self.modulation.coefficients(codes)
        rows = torch.arange(x.shape[2], device=x.device)[:, None]
        inputs = (x, rows, coefficients)
        out = self.convert(*inputs) if needs_whole_maps(self, x) else convert_in_bands(self, *inputs)
        return out[..., :height, :width]

    def convert(self, x: Tensor, rows: Tensor, coefficients: Coefficients | None) -> Tensor:
        """Convert the target frame.

        Args:
            x: all frames on channels (B, 3 N, H, W), H and W even.
            rows: numbers of the rows of a map, (H, 1).
            coefficients: coefficients of the modulation; None without it.

        Returns:
            hdr_pq (B, 3, H, W), not clamped.
        """
        aligned = self.align(x)
        features = self.fuse(self.blocks(self.head(aligned)), aligned, rows, coefficients, x.shape[2])
        if self.enhance_head is not None:
            features = self.enhance(self.enhance_head(features))
        out: Tensor = self.last(features)
        return out

    def fuse(
        self, residual: Tensor, aligned: Tensor, rows: Tensor, coefficients: Coefficients | None, height: int
    ) -> Tensor:
        """Return F_Mod + F_skip of some rows of a map of `height` rows."""
        skip: Tensor = self.skip(residual)  # the last layer of F_skip
        if self.modulation is not None and coefficients is not None:
            skip = skip + self.modulation(aligned, coefficients, rows, height)
        elif self.plain_branch is not None:
            skip = skip + self.plain_branch(aligned)
        return skip
