"""FCPM: reconstructed key frames are warped, combined and propagated to the frames around them (section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.warp import warp
from vitm.papers.vitm_tc.alignment import conv_stack, zero
from vitm.papers.vitm_tc.bands import in_bands
from vitm.papers.vitm_tc.exposure import exposure_gain, linearise, over_exposure

Propagation = Literal["both", "forward", "backward", "warp"]
WIDTH = 64
GLOBAL_SIZE = 256  # side of what the global branch looks at


class CombinationBlock(nn.Module):
    """Local, dilated and global features of its input, side by side and fused, like ExpandNet (2018).

    Args:
        inputs: number of channels of the input.
        outputs: number of channels of the output, which has no activation.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.local = conv_stack(inputs, WIDTH, WIDTH)
        self.dilated = conv_stack(inputs, *[WIDTH] * 4)
        for layer in self.dilated:
            if isinstance(layer, nn.Conv2d):
                layer.dilation, layer.padding = (2, 2), (2, 2)
        self.whole = nn.Sequential(
            conv_stack(inputs, *[WIDTH] * 6, stride=2), nn.Conv2d(WIDTH, WIDTH, 4), nn.LeakyReLU(0.1, inplace=True)
        )
        self.fuse = nn.Conv2d(3 * WIDTH, WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        x = x.contiguous(memory_format=torch.channels_last)
        whole = self.whole(F.adaptive_avg_pool2d(x, GLOBAL_SIZE))
        weight = self.fuse.weight  # its last third sees the global features, which are the same at all pixels
        vector = F.conv2d(whole, weight[:, 2 * WIDTH :], self.fuse.bias)

        def rows(x: Tensor) -> Tensor:
            fused = F.conv2d(torch.cat([self.local(x), self.dilated(x)], 1), weight[:, : 2 * WIDTH]) + vector
            out: Tensor = self.last(F.leaky_relu_(fused, 0.1))
            return out

        return in_bands(self, rows, x, halo=8)


class FCPM(nn.Module):
    """Feature and clue propagation: what `VITMTC` does to each frame once the keys around it are reconstructed.

    Key frames come as (B, 4, H, W): their linear light, and in the last channel where they were clipped. The residual
    of equation 12 starts at zero.

    Args:
        propagation: direction of the propagation that refines the combined keys (Table 3): `"both"`, `"forward"`,
            `"backward"`, or none: `"warp"`.
        neighbours: number of keys that are warped to a frame.
        exposure_match: whether keys are brought to the exposure of the frame that they are warped to; otherwise as
            printed.
        tau: see `over_exposure`.

    Raises:
        ValueError: for an unknown `propagation`.
    """

    def __init__(
        self,
        propagation: Propagation = "both",
        neighbours: int = 5,
        exposure_match: bool = True,
        tau: float = 0.95,
    ) -> None:
        super().__init__()
        if propagation not in get_args(Propagation):
            raise ValueError(f"propagation must be one of {', '.join(get_args(Propagation))}, got {propagation!r}")
        self.neighbours = neighbours
        self.exposure_match = exposure_match
        self.tau = tau
        self.masks = CombinationBlock(3 + 3 * neighbours, neighbours)
        self.backward_step = Step() if propagation in ("both", "backward") else None
        self.forward_step = Step() if propagation in ("both", "forward") else None
        states = (self.backward_step is not None) + (self.forward_step is not None)
        self.fuse = conv_stack(states * WIDTH, WIDTH, 3, last=False) if states else None
        if self.fuse is not None:
            zero(self.fuse[-1])

    def merge(self, ldr: Tensor, keys: Sequence[Tensor], flows: Sequence[Tensor]) -> Tensor:
        """Combine the keys around a frame.

        Args:
            ldr: frame L_t (B, 3, H, W), camera code in [0, 1].
            keys: at most `neighbours` reconstructed keys (B, 4, H, W), from near to far; `key_image` makes them.
            flows: flow from the frame to each key (B, 2, H, W), pixels, x first.

        Returns:
            The preliminary frame (B, 3, H, W), linear, in the exposure of `ldr`, fp32.

        Raises:
            ValueError: if there is no key, or there are too many.
        """
        if not 1 <= len(keys) <= self.neighbours:
            raise ValueError(f"FCPM combines 1 to {self.neighbours} keys, got {len(keys)}")
        frame, exposed = linearise(ldr), over_exposure(ldr, self.tau) == 0
        warped = []
        for key, flow in zip(keys, flows, strict=True):
            both = warp(key, flow)
            x, clipped = both[:, :3], both[:, 3:]
            warped.append(x * exposure_gain(frame, x, exposed & (clipped == 0)) if self.exposure_match else x)
        missing = self.neighbours - len(warped)
        masks = self.masks(torch.cat([ldr, *warped, *[torch.zeros_like(ldr)] * missing], 1))
        masks = masks[:, : len(warped)].float().softmax(1)
        return torch.stack([m * x for m, x in zip(masks[:, :, None].unbind(1), warped, strict=True)]).sum(0)  # eq. 9

    def finish(self, merged: Tensor, states: Sequence[Tensor]) -> Tensor:
        """Compute Y_t of equation 12, linear, fp32, from the preliminary frame and the states h^f, h^b there are."""
        if self.fuse is None:
            return merged
        residual = in_bands(self, self._residual, *states, halo=2)
        return residual.float() + merged  # eq. 12

    def _residual(self, *states: Tensor) -> Tensor:
        assert self.fuse is not None
        out: Tensor = self.fuse(torch.cat(states, 1))
        return out


class Step(nn.Module):
    """One step F_b or F_f of the propagation (equations 10 and 11)."""

    def __init__(self) -> None:
        super().__init__()
        self.block = CombinationBlock(6 + WIDTH, WIDTH)

    def forward(self, merged: Tensor, neighbour: Tensor | None, state: Tensor | None, flow: Tensor | None) -> Tensor:
        """Go on by one frame.

        Args:
            merged: the preliminary frame (B, 3, H, W).
            neighbour: preliminary frame before it in the direction of propagation; None at the end of the clip, where
                the frame is its own neighbour.
            state: state h of the neighbour (B, 64, H, W); None for zeros.
            flow: flow from the frame to the neighbour (B, 2, H, W); None together with `state`.

        Returns:
            The state h of the frame (B, 64, H, W).
        """
        if state is None or flow is None:
            warped = merged.new_zeros(len(merged), WIDTH, *merged.shape[2:])
        else:
            warped = warp(state, flow)
        h: Tensor = self.block(torch.cat([merged, merged if neighbour is None else neighbour, warped], 1))  # eq. 10, 11
        return h


def key_image(hdr_linear: Tensor, ldr: Tensor, tau: float = 0.95) -> Tensor:
    """Join a reconstructed key (B, 3, H, W) and the mask of what its frame has clipped: (B, 4, H, W)."""
    return torch.cat([hdr_linear, over_exposure(ldr, tau)], 1)
