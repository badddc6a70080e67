"""VITM-TC's equations written down one by one, for whole maps, from lists of weights; nothing is shared or cached."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

State = dict[str, Tensor]


def layers(state: State, prefix: str) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of the convolutions below a prefix, in the order in which they were made."""
    names = [k for k in state if k.startswith(prefix + ".") and k.endswith("weight")]
    return [(state[k], state[k.removesuffix("weight") + "bias"]) for k in names]


def stack(x: Tensor, convs, stride: int = 1, dilation: int = 1, last: bool = True) -> Tensor:
    for i, (weight, bias) in enumerate(convs):
        x = F.conv2d(x, weight, bias, stride, dilation * (weight.shape[-1] // 2), dilation)
        if last or i + 1 < len(convs):
            x = F.leaky_relu(x, 0.1)
    return x


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """W: bilinear samples at p + flow(p), the nearest pixel outside; (1, C, H, W) in NumPy."""
    image, (fx, fy) = x[0].double().numpy(), flow[0].double().numpy()
    _, H, W = image.shape
    y = np.clip(np.arange(H)[:, None] + fy, 0, H - 1)
    x_right = np.clip(np.arange(W) + fx, 0, W - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x_right).astype(int)
    y1, x1 = np.minimum(y0 + 1, H - 1), np.minimum(x0 + 1, W - 1)
    wy, wx = y - y0, x_right - x0
    upper = image[:, y0, x0] * (1 - wx) + image[:, y0, x1] * wx
    lower = image[:, y1, x0] * (1 - wx) + image[:, y1, x1] * wx
    return torch.from_numpy(upper * (1 - wy) + lower * wy).float()[None]


def correction(state: State, current: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
    """Equation 3."""
    convs = layers(state, "correction")
    return stack(torch.cat([current, reference, warp(reference, flow)], 1), convs, last=False) + flow


def deformation(state: State, current: Tensor, reference: Tensor, flow: Tensor, groups: int = 8) -> Tensor:
    """Equation 5."""
    x = torch.cat([current, reference, warp(reference, flow), flow], 1)
    out = stack(x, layers(state, "deformation.offset"), last=False)
    offset = 10 * torch.tanh(out[:, : 18 * groups])
    offset[:, 0::2] += flow[:, 1:]  # down
    offset[:, 1::2] += flow[:, :1]  # to the right
    mask = torch.sigmoid(out[:, 18 * groups :])
    weight, bias = state["deformation.deform.weight"], state["deformation.deform.bias"]
    return deform_conv2d(reference, offset, weight, bias, padding=1, mask=mask)


def fusion(state: State, current: Tensor, aligned: Tensor) -> Tensor:
    """Equation 6."""
    mask = torch.sigmoid(stack(aligned, layers(state, "fusion.mask"), last=False))
    x = torch.cat([current, aligned * mask], 1)
    for block in range(3):
        *convs, (weight, bias) = layers(state, f"fusion.blocks.{block}")
        features = [x]
        for conv in convs:
            features.append(stack(torch.cat(features, 1), [conv]))
        x = F.conv2d(torch.cat(features, 1), weight, bias)
    return current + x


def gain(ldr: Tensor, x_linear: np.ndarray, clipped: np.ndarray) -> float:
    """The ratio of the medians (the lower ones) of what neither clips, of every fourth pixel either way."""
    seen = ((clipped == 0) & (alpha(ldr).numpy() == 0))[0, 0, ::4, ::4]
    ours, theirs = (x.mean(1)[0, ::4, ::4][seen] for x in ((ldr**2.2).numpy(), x_linear))
    middle = (len(ours) - 1) // 2
    return float(np.sort(ours)[middle] / np.sort(theirs)[middle]) if len(ours) else 1.0


def code_gain(key: Tensor, frame: Tensor, flow: Tensor) -> float:
    """What the codes of a frame are multiplied by to have the key's exposure."""
    return gain(key, warp(frame**2.2, flow).numpy(), warp(alpha(frame), flow).numpy()) ** (1 / 2.2)


def icam(
    state: State, key: Tensor, references: Sequence[Tensor], flows: Sequence[Tensor], swin: Callable[[Tensor], Tensor]
) -> Tensor:
    """X_cur, section 3.3."""
    first = layers(state, "first")
    current, deep = stack(key, first), []
    for frame, flow in zip(references, flows, strict=True):
        reference = stack(frame, first) * code_gain(key, frame, flow)
        aligned = deformation(state, current, reference, correction(state, current, reference, flow))
        deep.append(stack(aligned, layers(state, "aggregation.stem"), stride=2))
        current = fusion(state, current, aligned)
    levels = [current]
    for i in range(4):
        down, same = layers(state, f"encoder.levels.{i}")
        levels.append(stack(stack(levels[-1], [down], stride=2), [same]))
    x = levels.pop()
    weight, bias = state["aggregation.merge.weight"], state["aggregation.merge.bias"]
    for features in deep:
        x = swin(F.conv2d(torch.cat([x, features], 1), weight[..., None, None], bias))  # eq. 7
    for i in range(4):
        (weight, bias), *convs = layers(state, f"decoder.{i}")
        x = F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), weight, bias)
        x = stack(torch.cat([x, levels.pop()], 1), convs)
    return F.relu(stack(x, [(state["last.weight"], state["last.bias"])], last=False) + key) ** 2.2


def alpha(ldr: Tensor, tau: float = 0.95) -> Tensor:
    return torch.from_numpy(np.maximum(0, ldr.numpy().max(1, keepdims=True) - tau) / (1 - tau))


def composite(ldr: Tensor, predicted: Tensor) -> Tensor:
    """Equation 1."""
    return (1 - alpha(ldr)) * ldr**2.2 + alpha(ldr) * predicted


def combination(state: State, prefix: str, x: Tensor) -> Tensor:
    """The combination block of section 3.4."""
    local, dilated = layers(state, f"{prefix}.local"), layers(state, f"{prefix}.dilated")
    *strided, (weight, bias) = layers(state, f"{prefix}.whole")
    pooled = F.adaptive_avg_pool2d(x, 256)
    vector = F.leaky_relu(F.conv2d(stack(pooled, strided, stride=2), weight, bias), 0.1)
    branches = [stack(x, local), stack(x, dilated, dilation=2), vector.expand(-1, -1, *x.shape[2:])]
    x = stack(torch.cat(branches, 1), [(state[f"{prefix}.fuse.weight"], state[f"{prefix}.fuse.bias"])])
    return F.conv2d(x, state[f"{prefix}.last.weight"], state[f"{prefix}.last.bias"])


def merged(state: State, ldr: Tensor, keys, key_ldrs, flows, neighbours: int) -> Tensor:
    """Equation 9, keys in the exposure of the frame."""
    warped = []
    for key, key_ldr, flow in zip(keys, key_ldrs, flows, strict=True):
        x, clipped = warp(key, flow).numpy(), warp(alpha(key_ldr), flow).numpy()
        warped.append(torch.from_numpy(x * np.float32(gain(ldr, x, clipped))))
    blank = [torch.zeros_like(ldr)] * (neighbours - len(warped))
    masks = combination(state, "masks", torch.cat([ldr, *warped, *blank], 1))[0, : len(warped)].softmax(0)
    return sum(mask * x for mask, x in zip(masks, warped, strict=True))


def pipeline(
    state: State,
    ldr: Sequence[Tensor],
    key_images: dict[int, Tensor],
    flow: Callable[[int, int], Tensor],
    neighbours: int,
) -> list[Tensor]:
    """Section 3.4 for a clip whose key frames are reconstructed; `flow(a, b)` is corrected."""
    n = len(ldr)
    xs = []
    for t in range(n):
        near = sorted(key_images, key=lambda k: (abs(k - t), k))[:neighbours]
        images, frames = [key_images[k] for k in near], [ldr[k] for k in near]
        xs.append(merged(state, ldr[t], images, frames, [flow(t, k) for k in near], neighbours))
    none = torch.zeros(1, 64, *ldr[0].shape[2:])
    backward, forward = [none] * n, [none] * n
    for t in reversed(range(n)):  # eq. 10
        last = t == n - 1
        x_after, h = (xs[t], none) if last else (xs[t + 1], warp(backward[t + 1], flow(t, t + 1)))
        backward[t] = combination(state, "backward_step.block", torch.cat([xs[t], x_after, h], 1))
    for t in range(n):  # eq. 11
        x_before, h = (xs[t], none) if t == 0 else (xs[t - 1], warp(forward[t - 1], flow(t, t - 1)))
        forward[t] = combination(state, "forward_step.block", torch.cat([xs[t], x_before, h], 1))
    fuse = layers(state, "fuse")
    pairs = zip(forward, backward, strict=True)
    ys = [stack(torch.cat(pair, 1), fuse, last=False) + x for pair, x in zip(pairs, xs, strict=True)]  # eq. 12
    return [composite(frame, y) for frame, y in zip(ldr, ys, strict=True)]
