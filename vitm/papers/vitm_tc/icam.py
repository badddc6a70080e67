"""ICAM: a U-Net that reconstructs a key frame with the clues of any number of references (section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitm.color import gamma22_inverse_eotf
from vitm.nets.swin import SwinBlocks
from vitm.ops.padding import pad_to_multiple
from vitm.papers.vitm_tc.alignment import (
    FlowCorrection,
    Fusion,
    GuidedDeformation,
    conv_stack,
    warp_features,
    zero,
)
from vitm.papers.vitm_tc.bands import in_bands
from vitm.papers.vitm_tc.exposure import code_gain, composite, linearise, over_exposure
from vitm.papers.vitm_tc.fill import Fill, fill_from_clues
from vitm.papers.vitm_tc.motion import Motion

Alignment = Literal["dcn", "corrected", "flow", "none", "fill"]
Start = Literal["key", "clues"]
KNOWN = 0.1  # share of the residual that is left where a reference shows the light
MOST_STOPS = 8.0  # largest change of the fill by the network
STRIDE = 16  # four halvings


class Reconstruction(NamedTuple):
    """ICAM's reconstruction of a key frame, in the key's exposure.

    Attributes:
        hdr_linear: composite of equation 1 (B, 3, H, W), linear, fp32.
        x_linear: prediction X_cur at all pixels (B, 3, H, W), linear, >= 0, fp32.
        flows: corrected flows from the key to each reference (B, R, 2, H, W), pixels, x first, fp32.
    """

    hdr_linear: Tensor
    x_linear: Tensor
    flows: Tensor


class Reference(NamedTuple):
    """A reference frame of a key; `ICAM.reference` makes it.

    Attributes:
        features: features F^l_ref (B, C, H, W), in the key's exposure.
        flow: flow from the key to the reference (B, 2, H, W), pixels, x first.
        present: (B, 1, 1, 1), False for samples that have no such reference; None: all have it.
    """

    features: Tensor
    flow: Tensor
    present: Tensor | None = None


class Encoder(nn.Module):
    """Levels 2 to 5 of the U-Net; level 1 is `ICAM.first`."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(conv_stack(a, b, stride=2), conv_stack(b, b)) for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map features at 1/1 to features at 1/1, 1/2, 1/4, 1/8 and 1/16."""
        features = [x]
        for level in self.levels:
            features.append(level(features[-1]))
        return features


class DecoderBlock(nn.Module):
    """Decoder block: a 1x1 convolution, twice the size, the skip beside it, two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.convs = conv_stack(2 * outputs, outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, H, W) and a skip (B, outputs, 2 H, 2 W) to the shape of the skip."""
        x = self.reduce(x)  # commutes with the interpolation, and is four times cheaper before it
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        out: Tensor = self.convs(torch.cat([x, skip], 1))
        return out


class GlobalAggregation(nn.Module):
    """Aggregation of section 3.3.2: deep features of the references enter the key's by attention (equation 7)."""

    def __init__(self, widths: Sequence[int], heads: int) -> None:
        super().__init__()
        deep = widths[-1]
        self.stem = conv_stack(*widths, stride=2)
        self.merge = nn.Linear(2 * deep, deep)
        self.swin = SwinBlocks(deep, blocks=4, heads=heads)
        with torch.no_grad():  # references are many and the weights are the same for all: start from the key's features
            self.merge.weight[:, :deep].copy_(torch.eye(deep))
            nn.init.zeros_(self.merge.bias)
        for name, parameter in self.swin.named_parameters():
            if "attn.proj" in name or "mlp.fc2" in name:
                nn.init.zeros_(parameter)

    def forward(self, current: Tensor, reference: Tensor) -> Tensor:
        """Add to F^g_cur what F^g_ref tells, both (B, C, H/16, W/16)."""
        both = rearrange([current, reference], "role b c h w -> b h w (role c)")
        out: Tensor = self.swin(rearrange(self.merge(both), "b h w c -> b c h w"))  # eq. 7
        return out


class ICAM(nn.Module):
    """Incremental clue aggregation: a key frame and its references in, the key frame in linear light out.

    Convention: any height and width; they are padded to multiples of 16 by reflection (replication below 16 pixels).
    The order of the references matters: they are folded in one after another. Without any it is a plain U-Net. An
    untrained network passes on what it starts from, however many references it has.

    Args:
        widths: numbers of channels at 1/1, 1/2, 1/4, 1/8 and 1/16.
        align: form of alignment (Table 2). `"dcn"`: deformable convolution guided by the corrected flow;
            `"corrected"`: warped along the corrected flow; `"flow"`: along the flow as it was estimated; `"none"`: not.
            `"fill"`: features of references are not used at all; what they show enters by the fill (`start="clues"`).
        use_global: whether deep features are aggregated too (Table 2, d).
        groups: number of deformable groups.
        heads: number of attention heads.
        exposure_match: whether the features of references are brought to the key's exposure; otherwise as printed.
        tau: see `over_exposure`.
        checkpointing: whether the backward pass computes the inner maps of a reference again. Memory grows by a few
            maps a reference, not by a hundred.
        start: light that the network's residual is on top of: `"key"`, the key's, as in the paper; or `"clues"`, the
            key's filled by `fill_from_clues` from its references. The fill and its confidence then are inputs too, and
            the residual, in stops, is a tenth where a reference shows the light.

    Raises:
        ValueError: for an unknown `align` or `start`, not five widths, or `align="fill"` without `start="clues"`.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int] = (48, 64, 96, 128, 192),
        align: Alignment = "dcn",
        use_global: bool = True,
        groups: int = 8,
        heads: int = 8,
        exposure_match: bool = True,
        tau: float = 0.95,
        checkpointing: bool = False,
        start: Start = "key",
    ) -> None:
        super().__init__()
        for name, value, known in (("align", align, get_args(Alignment)), ("start", start, get_args(Start))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if align == "fill" and (start != "clues" or use_global):
            raise ValueError("align='fill' uses no features of references: it needs start='clues' and use_global=False")
        if len(widths) != 5:
            raise ValueError(f"ICAM has five levels, got the widths {tuple(widths)}")
        self.channels = channels = widths[0]
        self.align_by, self.start = align, start
        self.exposure_match = exposure_match
        self.tau = tau
        self.checkpointing = checkpointing
        self.first = conv_stack(3, channels, channels)
        for parameter in self.first.parameters():
            if parameter.ndim == 1:
                nn.init.zeros_(parameter)  # biases: features of a longer exposure are a multiple, see `gain`
        self.correction = FlowCorrection(channels) if align in ("corrected", "dcn") else None
        self.deformation = GuidedDeformation(channels, groups) if align == "dcn" else None
        self.fusion = None if align == "fill" else Fusion(channels)
        self.encoder = Encoder(widths)
        self.aggregation = GlobalAggregation(widths, heads) if use_global else None
        self.decoder = nn.ModuleList(DecoderBlock(b, a) for a, b in reversed([*pairwise(widths)]))
        self.last = zero(nn.Conv2d(channels, 3, 3, 1, 1))
        self.prior = conv_stack(6, channels, channels, last=False) if start == "clues" else None

    def forward(
        self,
        key: Tensor,
        references: Tensor,
        flows: Tensor,
        present: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """Reconstruct key frames; see `reconstruct`.

        Returns:
            The composite of equation 1 (B, 3, H, W), linear, in the key's exposure, fp32.
        """
        return self.reconstruct(key, references, flows, present, gains).hdr_linear

    def reconstruct(
        self,
        key: Tensor,
        references: Tensor,
        flows: Tensor,
        present: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Reconstruction:
        """Reconstruct key frames, with all that the losses need.

        Args:
            key: frame L_cur (B, 3, H, W), camera code in [0, 1].
            references: frames L_ref (B, R, 3, H, W), R >= 0, in the order in which they are folded in.
            flows: flow from the key to each reference (B, R, 2, H, W), pixels, x first; `warp(reference, flow)`
                resembles the key.
            present: (B, R), False where a sample has no such reference: its frame and its flow are not looked at. None:
                all are present.
            gains: (B, R), factors on the references' linear light that give it the key's exposure, see `Motion`. None:
                the ratio of medians along the flow.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        B, _, H, W = key.shape if key.ndim == 4 else (0, 0, 0, 0)
        R = references.shape[1] if references.ndim == 5 else -1
        if key.shape != (B, 3, H, W) or references.shape != (B, R, 3, H, W) or flows.shape != (B, R, 2, H, W):
            raise ValueError(
                "ICAM needs key (B, 3, H, W), references (B, R, 3, H, W) and flows (B, R, 2, H, W), got "
                f"{tuple(key.shape)}, {tuple(references.shape)} and {tuple(flows.shape)}"
            )
        if present is not None and present.shape != (B, R):
            raise ValueError(f"present must be ({B}, {R}), got {tuple(present.shape)}")
        if gains is not None and gains.shape != (B, R):
            raise ValueError(f"gains must be ({B}, {R}), got {tuple(gains.shape)}")
        key = pad_to_multiple(key, STRIDE)
        clues = [
            (
                pad_to_multiple(references[:, j], STRIDE),
                F.pad(flows[:, j], (0, key.shape[3] - W, 0, key.shape[2] - H), mode="replicate"),
                None if present is None else present[:, j].bool()[:, None, None, None],
            )
            for j in range(R)
        ]
        fill = self._fill(key, clues, gains) if self.start == "clues" else None
        folded = (self.reference(key, frame, flow, present=mask) for frame, flow, mask in clues if self.fusion)
        return Reconstruction(*(x[..., :H, :W] for x in self.aggregate(key, self.encode(key), folded, fill)))

    def _fill(self, key: Tensor, clues: Iterable[tuple[Tensor, Tensor, Tensor | None]], gains: Tensor | None) -> Fill:
        motions = []
        for j, (frame, flow, present) in enumerate(clues):
            gain = gains[:, j, None, None, None] if gains is not None else code_gain(key, frame, flow, self.tau) ** 2.2
            motions.append((frame, Motion(flow, gain if present is None else gain * present)))  # 0: not there
        return fill_from_clues(key, motions, self.tau)

    def encode(self, ldr: Tensor) -> Tensor:
        """Compute F^l, the features of the first encoder block, (B, C, H, W), from camera code (B, 3, H, W)."""
        return in_bands(self.first, self.first, ldr.contiguous(memory_format=torch.channels_last), halo=2)

    def reference(
        self, key: Tensor, frame: Tensor, flow: Tensor, features: Tensor | None = None, present: Tensor | None = None
    ) -> Reference:
        """Make a reference for `aggregate`.

        Args:
            key: frame L_cur (B, 3, H, W), camera code in [0, 1].
            frame: frame L_ref (B, 3, H, W), camera code in [0, 1].
            flow: flow from the key to the reference (B, 2, H, W), pixels, x first.
            features: `encode(frame)`, where it is known already.
            present: see `Reference`.
        """
        features = self.encode(frame) if features is None else features
        return Reference(features * self.gain(key, frame, flow), flow, present)

    def gain(self, key: Tensor, frame: Tensor, flow: Tensor) -> Tensor | float:
        """Return the factor that gives the features of a frame the key's exposure; see `reference` for the arguments.

        Another exposure multiplies camera codes by a factor, and the first block, its biases apart, passes factors on:
        so the features are computed once and serve keys of all exposures.
        """
        return code_gain(key, frame, flow, self.tau) if self.exposure_match else 1.0

    def align(self, current: Tensor, reference: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Lay the features of a reference onto the current frame (equation 5); return them and the corrected flow."""
        if self.correction is not None:
            flow = self.correction(current, reference, flow)
        if self.deformation is not None:
            return self.deformation(current, reference, flow), flow
        return (reference if self.align_by == "none" else warp_features(reference, flow)), flow

    def aggregate(
        self, key: Tensor, features: Tensor, references: Iterable[Reference], fill: Fill | None = None
    ) -> Reconstruction:
        """Reconstruct key frames whose height and width are multiples of 16 from features.

        Args:
            key: L_cur (B, 3, H, W), camera code in [0, 1].
            features: features F^l_cur, `encode(key)`.
            references: folded in one after another; an iterator may make each when its turn comes.
            fill: what `start="clues"` starts from; None: the key, filled by nothing.
        """
        if self.prior is not None:
            fill = fill_from_clues(key, (), self.tau) if fill is None else fill
            known = torch.cat([gamma22_inverse_eotf(fill.hdr_linear).add(1).log2(), fill.confidence], 1)
            features = features + in_bands(self.prior, self.prior, known, halo=2)
        deep_references, flows = [], []
        for reference in references:
            if self.checkpointing and torch.is_grad_enabled():
                step = checkpoint(self._fold_in, features, *reference, use_reentrant=False)
            else:
                step = self._fold_in(features, *reference)
            features, deep, flow = step
            deep_references.append((deep, reference.present))
            flows.append(flow)
        *skips, x = self.encoder(features)
        for deep, present in deep_references:
            if self.aggregation is not None:
                x = keep(x, self.aggregation(x, deep), present)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        corrected = torch.stack(flows, 1) if flows else key.new_zeros(len(key), 0, 2, *key.shape[2:])
        residual, alpha = self.last(x).float(), over_exposure(key, self.tau)
        if fill is not None:
            limited = residual.clamp(-MOST_STOPS, MOST_STOPS)
            if residual.requires_grad:  # the gradient of no limit: else what has left the range would never come back
                limited = residual + (limited - residual).detach()
            stops = limited * (1 - (1 - KNOWN) * fill.confidence)
            hdr_linear, predicted = (fill.hdr_linear * (share * stops).exp2() for share in (alpha, 1.0))
            return Reconstruction(hdr_linear, predicted, corrected)
        predicted = linearise(F.relu(residual + key))  # as camera codes, which go on above 1
        return Reconstruction(composite(key, predicted, alpha), predicted, corrected)

    def _fold_in(
        self, features: Tensor, reference: Tensor, flow: Tensor, present: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        aligned, flow = self.align(features, reference, flow)
        deep = None if self.aggregation is None else self.aggregation.stem(aligned)
        assert self.fusion is not None
        return keep(features, self.fusion(features, aligned), present), deep, flow


def keep(old: Tensor, new: Tensor, present: Tensor | None) -> Tensor:
    """Return `new` for the samples that are present, `old` for the others."""
    return new if present is None else torch.where(present, new, old)
