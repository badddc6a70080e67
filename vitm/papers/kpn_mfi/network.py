"""KPN-MFI: a kernel prediction network whose deepest features interact between frames (IJCAI 2022, section 3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.color.precision import as_float
from vitm.ops.padding import pad_to_multiple
from vitm.ops.pixel_conv import pixel_conv
from vitm.ops.tiling import needs_whole_maps
from vitm.papers.kpn_mfi.bands import encode_in_bands, filter_in_bands
from vitm.papers.kpn_mfi.mfi import MFI, OfficialMFI, SelfAttention

STRIDE = 8  # three convolutions of stride 2


class Features(NamedTuple):
    """The encoder's features of one frame: (B, C, H/s, W/s) at the strides s = 1, 2, 4 and 8."""

    full: Tensor
    half: Tensor
    quarter: Tensor
    deep: Tensor


class ResidualBlock(nn.Module):
    """Residual block x + conv(relu(conv(x))), without normalisation; Kaiming weights times 0.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                conv.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        out: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return out


def residual_trunk(channels: int, blocks: int) -> nn.Sequential:
    """Return `blocks` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


class Upsample(nn.Module):
    """Twice the size, then ReLU: sub-pixel convolution (released code) or bicubic and a convolution (Figure 1)."""

    def __init__(self, channels: int, kind: Literal["pixelshuffle", "bicubic"]) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(channels, 4 * channels if kind == "pixelshuffle" else channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, 2h, 2w)."""
        if self.kind == "pixelshuffle":
            return F.relu(F.pixel_shuffle(self.conv(x), 2))
        return F.relu(self.conv(F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)))


class Encoder(nn.Module):
    """Encoder of section 3.1: features of one frame, by the same weights for all frames."""

    def __init__(self, width: int, blocks: tuple[int, int], use_sa: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(3))
        self.trunks = nn.ModuleList(residual_trunk(width, n) for n in blocks)
        self.attention = SelfAttention(width) if use_sa else nn.Identity()

    def forward(self, sdr: Tensor) -> Features:
        """Map (B, 3, H, W), H and W multiples of 8, to `Features`."""
        full = self._full(sdr) if needs_whole_maps(self, sdr) else encode_in_bands(self._full, sdr)
        half = self.trunks[0](F.relu(self.down[0](full)))
        quarter = self.trunks[1](F.relu(self.down[1](half)))
        deep = self.attention(F.relu(self.down[2](quarter)))
        return Features(full, half, quarter, deep)

    def _full(self, sdr: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(sdr))))


class Decoder(nn.Module):
    """Decoder of section 3.1: kernels K_t = D(C_t, X_t^l) from the interacted and the low-level features of a frame."""

    def __init__(
        self,
        width: int,
        blocks: tuple[int, int, int],
        kernel_channels: int,
        upsample: Literal["pixelshuffle", "bicubic"],
        kernel_act: Literal["relu", "none", "softplus"],
        skips: Literal["all", "full"],
    ) -> None:
        super().__init__()
        self.skips = skips
        self.trunks = nn.ModuleList(residual_trunk(width, n) for n in blocks)
        self.ups = nn.ModuleList(Upsample(width, upsample) for _ in range(3))
        self.tail = nn.Conv2d(width, width, 3, padding=1)
        self.kernels = nn.Conv2d(width, kernel_channels, 3, padding=1)
        self.act = {"relu": nn.ReLU(), "none": nn.Identity(), "softplus": nn.Softplus()}[kernel_act]

    def coarse(self, interacted: Tensor, features: Features) -> Tensor:
        """Decode up to half resolution: (B, C, H/8, W/8) to (B, C, H/2, W/2)."""
        x = interacted + self.trunks[0](interacted)
        if self.skips == "full":
            half: Tensor = self.trunks[2](self.ups[1](self.trunks[1](self.ups[0](x))))
            return half
        x = self.trunks[1](self.ups[0](x) + features.quarter)
        half = self.trunks[2](self.ups[1](x) + features.half)
        return half

    def fine(self, half: Tensor, full: Tensor) -> Tensor:
        """Decode the rest, local in space: (B, C, H/2, W/2) and the skip (B, C, H, W) to kernels (B, 3 k k, H, W)."""
        x = self.ups[2](half) + full
        out: Tensor = self.act(self.kernels(F.relu(self.tail(x))))
        return out


OFFICIAL: dict[str, Any] = {"trunk": (2, 4, 6, 4, 2), "mfi_variant": "official", "sequential_update": True}
"""Arguments of the released network."""


class KPNMFI(nn.Module):
    """SDR clip in, HDR10 clip out: each pixel and colour channel is filtered by a k x k kernel of its own.

    Convention: any number of frames, any height and width. Sizes that are no multiple of 8 are padded at the bottom
    and the right by reflection (replication below 8 pixels) and cropped back. The output is not clamped; kernels act
    within a colour channel, so black stays black and no colour appears that its channel lacks.

    Args:
        width: channels of every feature map, a multiple of 8.
        trunk: numbers of residual blocks at 1/2 and 1/4 (encoder), 1/8, 1/4 and 1/2 (decoder). The default meets both
            numbers of Table 1 (3.3735 M parameters, 29.0289 GMAC a frame at 256 x 256) to 0.1 %.
        kernel_size: size k of equation 3, odd. The paper does not state it; the released code has 5.
        use_sa: whether there is self-attention on the deepest features.
        use_mfi: whether frames interact; without it the network is the image network of Table 3, row 1.
        mfi_variant: form of the interaction. `"cosine"`: equations 4 to 7; `"official"`: the released file's module.
        corr_norm: see `MFI`.
        fc: see `MFI`.
        anchor: see `MFI`.
        sequential_update: see `OfficialMFI`; for `mfi_variant="official"` alone.
        upsample: form of up-sampling: `"pixelshuffle"` (released code) or `"bicubic"` (Figure 1).
        kernel_act: activation of the predicted kernels.
        skips: sizes at which the encoder's features are added in the decoder: `"all"`: 1, 1/2 and 1/4 (released code);
            `"full"`: 1 alone, the low-level features that Figure 1 draws.
        bias_map: whether an additive term is predicted for each pixel and channel (an extension, not in the paper).
    """

    context = 2  # frames before a frame that `stream` looks at: the last frame is an outer one of its window
    window_frames = 3

    def __init__(
        self,
        width: int = 64,
        trunk: tuple[int, int, int, int, int] = (5, 7, 12, 7, 5),
        kernel_size: int = 5,
        use_sa: bool = True,
        use_mfi: bool = True,
        mfi_variant: Literal["cosine", "official"] = "cosine",
        corr_norm: Literal["mean", "sum", "softmax"] = "mean",
        fc: Literal["se", "linear"] = "se",
        anchor: Literal["neighbour", "current"] = "neighbour",
        sequential_update: bool = False,
        upsample: Literal["pixelshuffle", "bicubic"] = "pixelshuffle",
        kernel_act: Literal["relu", "none", "softplus"] = "relu",
        skips: Literal["all", "full"] = "all",
        bias_map: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
        if width % 8:
            raise ValueError(f"width must be a multiple of 8 (attention projects to width / 8), got {width}")
        if sequential_update and mfi_variant != "official":
            raise ValueError("sequential_update belongs to mfi_variant='official'")
        self.kernel_radius = kernel_size // 2
        self.kernel_channels = 3 * kernel_size**2
        self.encoder = Encoder(width, trunk[:2], use_sa)
        self.mfi: nn.Module | None = None
        if use_mfi:
            cosine = mfi_variant == "cosine"
            self.mfi = MFI(width, corr_norm, fc, anchor) if cosine else OfficialMFI(width, sequential_update)
        self.decoder = Decoder(width, trunk[2:], self.kernel_channels + 3 * bias_map, upsample, kernel_act, skips)

    @classmethod
    def official(cls) -> Self:
        """Return the network of the released code, which is not the one of the paper's Table 1."""
        return cls(**OFFICIAL)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert a clip.

        Args:
            sdr: (B, T, 3, H, W), BT.709 gamma code in [0, 1], T >= 1.

        Returns:
            hdr_pq (B, T, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is not (B, T, 3, H, W).
        """
        if sdr.ndim != 5 or sdr.shape[2] != 3:
            raise ValueError(f"expected sdr of shape (B, T, 3, H, W), got {tuple(sdr.shape)}")
        frames = [pad_to_multiple(frame, STRIDE) for frame in sdr.unbind(1)]
        features = [self.encoder(frame) for frame in frames]
        deep = self._interact([f.deep for f in features])
        out = torch.stack([self._decode(*args) for args in zip(frames, features, deep, strict=True)], dim=1)
        return out[..., : sdr.shape[-2], : sdr.shape[-1]]

    @torch.no_grad()
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip of any length with the memory of three frames; each frame is encoded once.

        Equal to `forward` on the whole clip (section 3.2: windows of three frames; the first and the last frame are
        the outer frames of the first and the last window).

        Args:
            frames: an iterator of sdr (B, 3, H, W), BT.709 gamma code in [0, 1], all of one size.

        Yields:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped, one for each frame and in the same order.
        """
        window: deque[tuple[Tensor, Features]] = deque(maxlen=3)
        size = (0, 0)
        n = 0
        for frame in frames:
            size = (frame.shape[-2], frame.shape[-1])
            padded = pad_to_multiple(frame, STRIDE)
            window.append((padded, self.encoder(padded)))
            n += 1
            if n == 3:
                yield self._decode_slot(window, 0, size)
            if n >= 3:
                yield self._decode_slot(window, 1, size)
        for slot in range(n) if n < 3 else (2,):
            yield self._decode_slot(window, slot, size)

    def _decode_slot(self, window: Iterable[tuple[Tensor, Features]], slot: int, size: tuple[int, int]) -> Tensor:
        frames, features = zip(*window, strict=True)
        deep = self._interact([f.deep for f in features])
        return self._decode(frames[slot], features[slot], deep[slot])[..., : size[0], : size[1]]

    def _interact(self, deep: list[Tensor]) -> list[Tensor]:
        return deep if self.mfi is None else self.mfi(deep)

    def _decode(self, sdr: Tensor, features: Features, interacted: Tensor) -> Tensor:
        half = self.decoder.coarse(interacted, features)
        if needs_whole_maps(self, half):
            return self._filter(half, features.full, sdr)
        return filter_in_bands(self._filter, half, features.full, sdr, self.kernel_radius)

    def _filter(self, half: Tensor, full: Tensor, sdr: Tensor) -> Tensor:
        kernels = self.decoder.fine(half, full)  # K_t = D(C_t, X_t^l)
        out = pixel_conv(as_float(sdr), as_float(kernels[:, : self.kernel_channels]))  # eq. 3
        return out + kernels[:, self.kernel_channels :] if kernels.shape[1] > self.kernel_channels else out
