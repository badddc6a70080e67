"""Single HDR: dequantisation, linearisation, hallucination and refinement undo a camera step by step."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.filters import get_spatial_gradient_kernel2d
from torch import Tensor, nn
from torchvision.models import resnet18

from vitm.baselines.hdrcnn import Encoder
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps
from vitm.papers.vitm_tc.display import to_hdr_pq

SAMPLES, COMPONENTS = 1024, 11  # of a response curve, and of its basis (section 3.2)
BINS = (4, 8, 16)  # of the histogram maps
LOOK = 256  # side of what the curve is estimated from


class Stages(NamedTuple):
    """What the stages give.

    Attributes:
        dequantized: camera code (B, 3, H, W).
        curve: inverse camera response (B, 1024), from 0 to 1, never falling.
        linear: linear light (B, 3, H, W) in [0, 1].
        filled: the same, with what is over-exposed.
        refined: the result, linear light >= 0.
    """

    dequantized: Tensor
    curve: Tensor
    linear: Tensor
    filled: Tensor
    refined: Tensor


class UNet(nn.Module):
    """The U-Net of dequantisation and of refinement: averages down, bilinear interpolation up, LeakyReLU(0.1).

    Args:
        inputs: number of channels of the input.
        widths: numbers of channels at 1/1, 1/2, 1/4, ...; the first two sizes have kernels of 7 and 5.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        kernels = (7, 5, *[3] * len(widths))

        def pair(n: int, m: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(*(conv(k, m, kernel) for k in (n, m)))

        def conv(n: int, m: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(n, m, kernel, padding=kernel // 2), nn.LeakyReLU(0.1, inplace=True))

        self.down = nn.ModuleList(
            pair(n, m, k) for (n, m), k in zip(pairwise((inputs, *widths)), kernels, strict=False)
        )
        steps = [*pairwise(widths)][::-1]
        self.up = nn.ModuleList(conv(m, n, 3) for n, m in steps)
        self.merge = nn.ModuleList(conv(2 * n, n, 3) for n, _ in steps)
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W), sides that all halvings divide, to (B, 3, H, W), without activation."""
        skips = []
        for i, down in enumerate(self.down):
            x = down(F.avg_pool2d(x, 2) if i else x)
            skips.append(x)
        x = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
            x = merge(torch.cat([x, skips.pop()], 1))
        out: Tensor = self.last(x)
        return out


class Linearization(nn.Module):
    """Estimates a camera's inverse response curve in a basis, and applies it (section 3.2).

    A ResNet-18 sees the frame, its Sobel edges and soft histogram maps, at 256 x 256 at most.

    Args:
        emor: file with the inverse response model of Grossberg and Nayar, their `invemor.txt` of 201 curves. None: the
            mean curve is a power of 2.2 and the basis are sines, which like differences of curves are 0 at both ends.
    """

    mean: Tensor
    basis: Tensor
    sobel: Tensor

    def __init__(self, emor: str | Path | None = None) -> None:
        super().__init__()
        channels = 3 + 6 + sum(3 * (n + 1) for n in BINS)
        self.backbone = resnet18(num_classes=COMPONENTS)
        self.backbone.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.zeros_(self.backbone.fc.weight)
        nn.init.zeros_(self.backbone.fc.bias)
        x = torch.linspace(0, 1, SAMPLES)
        order = torch.arange(1, COMPONENTS + 1)[:, None]
        mean, basis = (x**2.2, (torch.pi * order * x).sin() / order) if emor is None else read_emor(emor)
        self.register_buffer("sobel", get_spatial_gradient_kernel2d("sobel", 1)[:, None], persistent=False)
        self.register_buffer("mean", mean)  # checkpoints hold the model
        self.register_buffer("basis", basis)

    def forward(self, code: Tensor) -> Tensor:
        """Return the curves (B, 1024) of frames (B, 3, H, W), camera code in [0, 1]."""
        if max(code.shape[2:]) > LOOK:
            code = F.adaptive_avg_pool2d(code, (min(code.shape[2], LOOK), min(code.shape[3], LOOK)))
        planes = F.pad(code, [1] * 4, mode="replicate").flatten(0, 1)[:, None]
        edges = F.conv2d(planes, self.sobel).reshape(len(code), -1, *code.shape[2:])
        weights = self.backbone(torch.cat([code, edges, *(histogram_maps(code, n) for n in BINS)], 1))
        return rising(self.mean + weights.float() @ self.basis)


def histogram_maps(code: Tensor, bins: int) -> Tensor:
    """Return how much each channel of each pixel belongs to each of the values 0, 1 / bins, ..., 1.

    Args:
        code: (B, 3, H, W) in [0, 1].
        bins: number of steps.

    Returns:
        (B, 3 (bins + 1), H, W): 1 at a value, linear to 0 at its neighbours; maps of a value are side by side.
    """
    maps = [(1 - (code * bins - i).abs()).relu() for i in range(bins + 1)]
    return torch.cat(maps, 1)


def rising(curve: Tensor) -> Tensor:
    """Return curves that never fall and lead from 0 to 1.

    Args:
        curve: (B, N), samples at equal distances.

    Returns:
        (B, N): the steps of each curve, raised by its deepest fall, and scaled to a sum of 1.
    """
    steps = curve.diff(dim=1)
    steps = steps + (-steps.amin(1, keepdim=True)).relu()
    rise = steps.cumsum(1) / steps.sum(1, keepdim=True).clamp_min(1e-6)
    return F.pad(rise, (1, 0))


def look_up(curve: Tensor, code: Tensor) -> Tensor:
    """Apply curves (B, N) to code (B, 3, H, W) in [0, 1], between samples linearly; differentiable in both."""
    at = code.clamp(0, 1) * (curve.shape[1] - 1)
    first = at.detach().floor().clamp_max(curve.shape[1] - 2)
    index = first.long().flatten(1)
    low, high = (curve.gather(1, i).view_as(code) for i in (index, index + 1))
    return torch.lerp(low, high, at - first)


def read_emor(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read the mean (1024,) and the basis (11, 1024) of inverse response curves from `invemor.txt`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file.
    """
    parts: dict[str, list[float]] = {}
    name = ""
    for line in Path(path).expanduser().read_text(encoding="ascii").splitlines():
        if "=" in line:
            name = line.partition("=")[0].strip()
            parts[name] = []
        elif name:
            parts[name] += [float(value) for value in line.split()]
    wanted = ["g0", *(f"hinv({i + 1})" for i in range(COMPONENTS))]
    if any(len(parts.get(key, ())) != SAMPLES for key in wanted):
        raise ValueError(f"{path} is no invemor.txt: expected {SAMPLES} values each of {', '.join(wanted)}")
    return torch.tensor(parts["g0"]), torch.tensor([parts[key] for key in wanted[1:]])


class Hallucination(nn.Module):
    """Predicts the light that clipping has taken away, at least 0: VGG16, and back by resizing and convolutions.

    Args:
        widths: see `HDRCNN`.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        steps = [*pairwise((widths[-1], *widths[::-1]))]
        self.up = nn.ModuleList(nn.Conv2d(n, m, 3, padding=1) for n, m in steps)
        self.merge = nn.ModuleList(nn.Conv2d(2 * m, m, 1) for _, m in steps)
        self.last = nn.Conv2d(widths[0], 3, 1)

    def forward(self, linear: Tensor) -> Tensor:
        """Map linear light (B, 3, H, W), sides multiples of 32, to what is added to it where it is clipped."""
        *features, x = self.encoder(linear)
        for up, merge in zip(self.up[:-1], self.merge[:-1], strict=True):
            x = _merged(up, merge, x, features.pop())
        inputs = (x, features.pop())
        return self._tail(*inputs) if needs_whole_maps(self, x) else map_rows(self._tail, inputs, halo=1, band=64)

    def _tail(self, x: Tensor, features: Tensor) -> Tensor:
        """Return rows of the result, from those at half the size and the features at 1/1."""
        out: Tensor = self.last(_merged(self.up[-1], self.merge[-1], x, features)).relu_()
        return out


def _merged(up: nn.Module, merge: nn.Module, x: Tensor, features: Tensor) -> Tensor:
    """Enlarge x twice, and add the features of this size."""
    x = up(F.interpolate(x, scale_factor=2, mode="nearest")).relu_()
    assert isinstance(merge, nn.Conv2d)
    own, other = merge.weight.chunk(2, 1)
    return F.conv2d(x, own, merge.bias) + F.conv2d(features, other)


class SingleHDR(nn.Module):
    """Four networks that undo what a camera does: quantisation, its response curve, and clipping; the last one refines.

    Liu et al., "Single-Image HDR Reconstruction by Learning to Reverse the Camera Pipeline", CVPR 2020 (code and
    weights for TensorFlow 1). 37,702,196 parameters. As in the paper: the tasks, inputs and losses. As released: the
    widths of the U-Nets. Assumed: a curve estimated from at most 256 x 256 pixels, refinement as a residual, and all
    four trained together, where the authors train one after another.

    Convention: any height and width; frames are padded to multiples of 32 by reflection, and cropped back.

    Args:
        widths: widths of the U-Nets.
        vgg_widths: widths of the hallucination, see `HDRCNN`.
        threshold: light above which a pixel begins to count as over-exposed.
        emor: see `Linearization`.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256),
        vgg_widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        threshold: float = 0.95,
        emor: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.dequantization = UNet(3, widths)
        self.linearization = Linearization(emor)
        self.hallucination = Hallucination(vgg_widths)
        self.refinement = UNet(9, widths)
        for unet in (self.dequantization, self.refinement):  # both start by changing nothing
            nn.init.zeros_(unet.last.weight)
            nn.init.zeros_(unet.last.bias)  # type: ignore[arg-type]

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            ldr: (B, 3, H, W), camera code in [0, 1].

        Returns:
            Linear light (B, 3, H, W) in the exposure of the frames, fp32.

        Raises:
            ValueError: if the shape is another.
        """
        return self.stages(ldr).refined

    def stages(self, ldr: Tensor) -> Stages:
        """Return what every stage gives, see `forward`."""
        if ldr.ndim != 4 or ldr.shape[1] != 3:
            raise ValueError(f"expected ldr of shape (B, 3, H, W), got {tuple(ldr.shape)}")
        frame = pad_to_multiple(ldr, 32)
        dequantized = frame + self.dequantization(frame).float().tanh()
        curve = self.linearization(dequantized.clamp(0, 1))
        linear = look_up(curve, dequantized)
        alpha = ((linear.amax(1, keepdim=True) - self.threshold) / (1 - self.threshold)).clamp(0, 1)
        filled = linear + alpha * self.hallucination(linear).float()
        refined = (filled + self.refinement(torch.cat([dequantized, linear, filled], 1)).float()).relu()
        H, W = ldr.shape[2:]
        dequantized, linear, filled, refined = (x[..., :H, :W] for x in (dequantized, linear, filled, refined))
        return Stages(dequantized, curve, linear, filled, refined)

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)
