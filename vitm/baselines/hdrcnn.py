"""HDRCNN: an encoder of camera code and a decoder of log light, which predict what is over-exposed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from vitm.nets.perceptual import MEAN, STD, classifier_state
from vitm.ops.copies import copied_to
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.papers.vitm_tc.exposure import linearise, over_exposure

EPSILON = 1 / 255  # keeps logarithms finite
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of VGG16 at each size
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # of red, green and blue
LUMA = (0.213, 0.715, 0.072)


class Encoder(nn.Module):
    """The convolutions of VGG16: a list of levels, with a 2x2 maximum after each.

    Args:
        widths: numbers of channels of the levels.
        mean: means of the frames' channels, which are subtracted.
        std: what the channels are divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, widths: tuple[int, ...], mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.levels = nn.ModuleList()
        for depth, (n, m) in zip(DEPTHS, pairwise((3, *widths)), strict=True):
            layers: list[nn.Module] = []
            for i in range(depth):
                layers += [nn.Conv2d(m if i else n, m, 3, padding=1), nn.ReLU(inplace=True)]
            self.levels.append(nn.Sequential(*layers))

    def forward(self, ldr: Tensor) -> list[Tensor]:
        """Return features at 1/1, 1/2, 1/4, 1/8 and 1/16, and the last ones once more at 1/32."""
        x, features = (ldr - self.mean) / self.std, []
        for depth, level in zip(DEPTHS, self.levels, strict=True):
            x = level(x) if needs_whole_maps(self, x) else map_rows(level, (x,), halo=depth)
            features.append(x)
            x = F.max_pool2d(x, 2)
        return [*features, x]

    def load_classifier(self, weights: str | None = None) -> None:
        """Take the weights of VGG16, which classifies ImageNet; see `vitm.nets.perceptual.PerceptualLoss`.

        Raises:
            ValueError: the file holds another network, or the widths are not VGG16's.
            FileNotFoundError: there is no such file; the message says how to get it.
        """
        path, state = classifier_state("vgg16", weights)
        convolutions = sorted({int(key.split(".")[1]) for key in state if key.startswith("features.")})
        layers = [layer for layer in self.levels.modules() if isinstance(layer, nn.Conv2d)]
        try:
            for layer, number in zip(layers, convolutions, strict=True):
                layer.load_state_dict({k: state[f"features.{number}.{k}"] for k in ("weight", "bias")})
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit the encoder, which is VGG16 with its own widths: {error}") from error


class Up(nn.Module):
    """A transposed convolution to twice the size, which starts as bilinear interpolation, a batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.conv.weight.zero_()
            for i in range(inputs):
                self.conv.weight[i, i % outputs] = line[:, None] * line * outputs / inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        out: Tensor = self.norm(self.conv(x)).relu_()
        return out


class LogSkip(nn.Module):
    """Fusion of decoder and encoder: a 1x1 convolution of both, the encoder's as log light.

    It starts as the sum of the two.

    Args:
        channels: number of channels of each of the two.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(channels).repeat(1, 2)[:, :, None, None])
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor, light: Tensor) -> Tensor:
        """Fuse decoder features and light >= 0, both (B, channels, H, W)."""
        decoder, encoder = self.conv.weight.chunk(2, 1)
        fused: Tensor = F.conv2d(x, decoder, self.conv.bias)
        return fused + F.conv2d((light + EPSILON).log(), encoder)


class HDRCNN(nn.Module):
    """An autoencoder that predicts the log light of over-exposed pixels.

    Eilertsen et al., "HDR image reconstruction from a single exposure using deep CNNs", SIGGRAPH Asia 2017 (released
    code and weights: BSD-3, for TensorFlow 1). VGG16, a convolution at 1/32, and back by transposed convolutions, with
    six skips that bring encoder features to log light; 29,443,358 parameters.

    Convention: any height and width; frames are padded to multiples of 32 by reflection (replication where they are too
    small), and cropped back. The output equals the linearised input where nothing is over-exposed.

    As released: gamma 2 and batch norms. Not as released: VGG16 has torchvision's weights and the scale that they
    expect, so features enter the skips as they are; the camera's curve is 2.2, which the data of VITM-TC have.

    Args:
        widths: numbers of channels at the five sizes.
        tau: code above which a pixel begins to count as over-exposed.
        released: whether it is the released network, for its weights: with the means of VGG16's authors, and a camera's
            curve of 2.
    """

    def __init__(
        self, widths: tuple[int, ...] = (64, 128, 256, 512, 512), tau: float = 0.95, released: bool = False
    ) -> None:
        super().__init__()
        if len(widths) != len(DEPTHS):
            raise ValueError(f"widths is {tuple(widths)}; expected {len(DEPTHS)} numbers of channels")
        self.tau, self.released = tau, released
        self.encoder = Encoder(widths, CAFFE_MEAN, (1, 1, 1)) if released else Encoder(widths)
        self.bottom = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)
        )
        inner = (widths[-1], *widths[::-1])
        self.up = nn.ModuleList(Up(n, m) for n, m in pairwise(inner))
        self.skips = nn.ModuleList(LogSkip(n) for n in widths[::-1])
        self.last = nn.Sequential(nn.Conv2d(widths[0], 3, 1), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        self.last_skip = LogSkip(3)

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            ldr: (B, 3, H, W), camera code in [0, 1].

        Returns:
            Linear light (B, 3, H, W) in the exposure of the frames, fp32.

        Raises:
            ValueError: if the shape is another.
        """
        predicted = self.log_light(ldr).exp() - EPSILON
        alpha = over_exposure(ldr, self.tau)
        return (1 - alpha) * self._linear(ldr) + alpha * predicted

    def log_light(self, ldr: Tensor) -> Tensor:
        """Return the predicted log(light + 1/255) at all pixels, (B, 3, H, W), fp32; see `forward`."""
        if ldr.ndim != 4 or ldr.shape[1] != 3:
            raise ValueError(f"expected ldr of shape (B, 3, H, W), got {tuple(ldr.shape)}")
        frame = pad_to_multiple(ldr, 32)
        *features, x = self.encoder(frame)
        x = self.bottom(x)
        for up, skip in zip(self.up[:-1], self.skips[:-1], strict=True):
            x = skip(up(x), features.pop().square())
        inputs = (x, features.pop(), frame)
        y = self._tail(*inputs) if needs_whole_maps(self, x) else map_rows(self._tail, inputs, halo=1, band=64)
        return y[..., : ldr.shape[2], : ldr.shape[3]].float()

    def _tail(self, x: Tensor, features: Tensor, frame: Tensor) -> Tensor:
        """Return the log light of rows, from those at half the size."""
        x = self.last(self.skips[-1](self.up[-1](x), features.square()))
        out: Tensor = self.last_skip(x, self._linear(frame))
        return out

    def _linear(self, ldr: Tensor) -> Tensor:
        """Return the light of camera code."""
        return ldr.float().square() if self.released else linearise(ldr)

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)


def illumination_reflectance_loss(
    log_light: Tensor, target_linear: Tensor, alpha: Tensor, weight: float = 0.5
) -> Tensor:
    """Compute HDRCNN's loss: squared differences of log illumination and of log reflectance.

    Illumination is log luminance, blurred by a Gaussian of 2 pixels; reflectance is the rest, in each channel.

    Args:
        log_light: prediction log(light + 1/255) (B, 3, H, W).
        target_linear: true linear light (B, 3, H, W).
        alpha: over-exposure (B, 1, H, W) in [0, 1], by which the differences are multiplied.
        weight: lambda, the share of illumination.

    Returns:
        A scalar in fp32: the mean over pixels.
    """
    true = (target_linear.float() + EPSILON).log()
    parts = [_illumination(log_light.float()), _illumination(true)]
    illumination = (alpha * (parts[0] - parts[1])).square().mean()
    reflectance = (alpha * ((log_light - parts[0]) - (true - parts[1]))).square().mean()
    return weight * illumination + (1 - weight) * reflectance


def _illumination(log_light: Tensor) -> Tensor:
    """Return the blurred log luminance (B, 1, H, W)."""
    luma = copied_to(log_light.device, torch.tensor(LUMA, dtype=log_light.dtype)[:, None, None])
    luminance = (luma * log_light.exp()).sum(1, keepdim=True).log()
    blurred: Tensor = gaussian_blur2d(luminance, (13, 13), (2.0, 2.0), "reflect")
    return blurred
