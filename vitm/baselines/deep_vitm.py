"""Deep VITM: a 3D encoder-decoder over consecutive frames, which reconstructs what is over-exposed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vitm.color import luminance
from vitm.nets.windows import windows
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.papers.vitm_tc.exposure import composite, linearise, over_exposure
from vitm.papers.vitm_tc.losses import mu_law


class Pair(nn.Sequential):
    """Two 3x3x3 convolutions with LeakyReLU, each a 2D one of the channels of three frames.

    Args:
        inputs: number of channels of a frame.
        outputs: number of channels of a frame of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for n in (inputs, outputs):
            layers += [nn.Conv2d(3 * n, outputs, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        super().__init__(*layers)

    def forward(self, frames: list[Tensor], middle: bool = False) -> list[Tensor]:
        """Map T frames of (B, inputs, H, W) to T of (B, outputs, H, W), or to the middle one; the ends are repeated."""
        t, last = len(frames) // 2, len(frames) - 1
        times = range(t - 2, t + 3) if middle else range(-2, last + 3)
        frames = [frames[min(max(time, 0), last)] for time in times]
        for layer in self:
            inputs: Iterable[Tensor] = frames
            if isinstance(layer, nn.Conv2d):  # leaves out a frame at either end
                inputs = (torch.cat(window, 1) for window in zip(frames, frames[1:], frames[2:], strict=False))
            frames = [layer(x) for x in inputs]
        return frames


class DeepVITM(nn.Module):
    """An encoder-decoder of 3D convolutions, which converts the middle one of a few frames.

    Xu et al., "Deep Video Inverse Tone Mapping", BigMM 2019. Neither code nor weights were published. Known, from its
    abstract: frames are first brought to approximate light of the scene, 3D convolutions reduce flicker, and luminance
    and colour have losses of their own; and from VITM-TC: it gets consecutive frames and reconstructs the over-exposed
    regions alone. Assumed: all else. Frames enter as camera code and as linear light; three sizes, by averages in space
    alone, with two 3x3x3 convolutions at each; the first and the last frame are repeated, but for the last two
    convolutions, which end at the middle frame; the network adds to its camera code, which may go on above 1, is
    linearised, and blended by VITM-TC's equation 1. 798,171 parameters.

    Convention: any height and width; frames are padded to multiples of 4 by reflection, and cropped back.

    Args:
        widths: numbers of channels at 1/1, 1/2, 1/4, ...
        radius: number of frames before and after the middle one.
        tau: see `over_exposure`.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96), radius: int = 2, tau: float = 0.95) -> None:
        super().__init__()
        if len(widths) < 2 or radius < 0:
            raise ValueError(f"widths is {tuple(widths)}, radius {radius}; expected two sizes or more, and 0 or more")
        self.radius, self.context, self.tau = radius, radius, tau
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(Pair(n, m) for n, m in pairwise((6, *widths)))
        self.decoder = nn.ModuleList(Pair(n + m, n) for n, m in reversed([*pairwise(widths)]))
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert the middle frame of a clip.

        Args:
            ldr: (B, 2 radius + 1, 3, H, W), camera code in [0, 1].

        Returns:
            Linear light (B, 3, H, W) of the middle frame, in its exposure, fp32.

        Raises:
            ValueError: if the shape is another.
        """
        n = 2 * self.radius + 1
        if ldr.ndim != 5 or ldr.shape[1:3] != (n, 3):
            raise ValueError(f"expected ldr of shape (B, {n}, 3, H, W), got {tuple(ldr.shape)}")
        H, W = ldr.shape[3:]
        x = pad_to_multiple(rearrange(ldr, "b t c h w -> b (t c) h w"), self.multiple)
        if needs_whole_maps(self, x):
            added = self._residual(x)
        else:
            reach = 6 * self.multiple  # two convolutions at the smallest size, four at the others, the last one
            added = map_rows(self._residual_of_band, (x,), halo=reach, band=6 * reach, multiple=self.multiple)
        middle = ldr[:, self.radius]
        predicted = linearise((added[:, :, :H, :W].float() + middle).relu())
        return composite(middle, predicted, over_exposure(middle, self.tau))  # eq. 1 of VITM-TC

    def _residual_of_band(self, frames: Tensor) -> Tensor:
        """Return the same of a band of rows; zeros, on a CPU, where nothing is over-exposed and none of it counts."""
        middle = frames[:, 3 * self.radius : 3 * self.radius + 3]
        if frames.device.type == "cpu" and not over_exposure(middle, self.tau).any():
            return torch.zeros_like(middle)
        return self._residual(frames)

    def _residual(self, frames: Tensor) -> Tensor:
        """Return what is added to the middle frame, (B, 3, H, W), from frames (B, T 3, H, W)."""
        x = [torch.cat([code, linearise(code)], 1) for code in torch.split(frames, 3, dim=1)]
        skips: list[list[Tensor]] = []
        for i, encoder in enumerate(self.encoder):
            x = encoder([F.avg_pool2d(frame, 2) for frame in x] if i else x)
            skips.append(x)
        x = skips.pop()
        for i, decoder in enumerate(self.decoder):
            enlarged = (F.interpolate(frame, scale_factor=2, mode="nearest") for frame in x)
            x = [torch.cat(pair, 1) for pair in zip(enlarged, skips.pop(), strict=True)]
            x = decoder(x, middle=i == len(self.decoder) - 1)
        out: Tensor = self.last(x[0])
        return out

    @torch.no_grad()
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip of any length; at its ends the first and the last frame are repeated.

        Args:
            frames: an iterator of ldr (B, 3, H, W), camera code in [0, 1], all of one size.

        Yields:
            Linear light (B, 3, H, W), fp32, one for each frame and in the same order.
        """
        for window in windows(frames, self.radius):
            yield self(torch.stack(window, dim=1))

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)


def luminance_and_color_loss(linear: Tensor, target_linear: Tensor, color_weight: float = 1.0) -> Tensor:
    """Compute the loss of luminance and that of colour, which the paper has and does not print.

    Assumed: the mean absolute difference of mu-law luminance (BT.709), and one minus the cosine between colours.

    Args:
        linear: predicted light (B, 3, H, W).
        target_linear: true light, the same shape.
        color_weight: weight of the loss of colour.

    Returns:
        A scalar in fp32.
    """
    codes = [mu_law(luminance(x.float(), "bt709")) for x in (linear, target_linear)]
    brightness = F.l1_loss(codes[0], codes[1])
    color = 1 - F.cosine_similarity(linear.float(), target_linear.float(), dim=1, eps=1e-6)
    return brightness + color_weight * color.mean()
