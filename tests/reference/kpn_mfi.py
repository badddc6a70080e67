"""KPN-MFI's equations 3 to 9, written out slowly in NumPy from the paper."""

from __future__ import annotations

import cv2
import numpy as np
import torch


def pixel_conv(x, kernels):
    """Equation 3: x (C, H, W), kernels (C, k, k, H, W) -> (C, H, W), zeros outside."""
    c, k, _, h, w = kernels.shape
    r = k // 2
    out = np.zeros_like(x)
    for channel in range(c):
        for y in range(h):
            for z in range(w):
                for dy in range(-r, r + 1):
                    for dx in range(-r, r + 1):
                        if 0 <= y + dy < h and 0 <= z + dx < w:
                            out[channel, y, z] += kernels[channel, dy + r, dx + r, y, z] * x[channel, y + dy, z + dx]
    return out


def conv1x1(x, weight, bias):
    """x (C, m), weight (D, C, 1, 1), bias (D,) -> (D, m)."""
    return weight[:, :, 0, 0] @ x + bias[:, None]


def relation(p, q, v, norm):
    """Equations 4 and 5 with the m x m map: p (neighbour), q, v (current) of shape (C, m) -> Z (C, m)."""
    p = p / np.linalg.norm(p, axis=0)
    q = q / np.linalg.norm(q, axis=0)
    r = p.T @ q  # equation 4: row i is the neighbour's position i
    if norm == "softmax":
        r = np.exp(r - r.max(axis=1, keepdims=True))
        r /= r.sum(axis=1, keepdims=True)
    elif norm == "mean":
        r = r / r.shape[1]
    return (r @ v.T).T  # equation 5


def interaction(state, current, earlier, later, norm="mean"):
    """Equations 4 to 7 for one frame; features (C, h, w); `state` maps names to arrays of an `MFI` with fc="se"."""
    c, h, w = current.shape
    y = current.reshape(c, -1)
    v = conv1x1(y, state["v.weight"], state["v.bias"])
    z = []
    for i, neighbour in enumerate((earlier, later)):
        p = conv1x1(neighbour.reshape(c, -1), state[f"p.{i}.weight"], state[f"p.{i}.bias"])
        q = conv1x1(y, state[f"q.{i}.weight"], state[f"q.{i}.bias"])
        z.append(relation(p, q, v, norm))
    z_t = conv1x1(np.concatenate(z), state["fuse.weight"], state["fuse.bias"])
    hidden = np.maximum(state["fc.0.weight"] @ y.mean(axis=1) + state["fc.0.bias"], 0)
    omega = 1 / (1 + np.exp(-(state["fc.2.weight"] @ hidden + state["fc.2.bias"])))
    m_t = omega[:, None] * z_t  # equation 6
    return ((1 + m_t) * y).reshape(c, h, w)  # equation 7


def illumination(frame):
    """log(1 + bilateral(255 H)) of a (H, W, 3) frame, the bilateral filter by OpenCV with the paper's d, sigmas."""
    image = (255 * np.clip(frame, 0, 1)).astype(np.float32)
    return np.log1p(cv2.bilateralFilter(image, 9, 10, 5))


def consistency_without_motion(frames):
    """Equation 9 for three frames (3, H, W, 3) without motion, the pyramid by OpenCV."""
    levels = [[illumination(f)] for f in frames]
    for pyramid in levels:
        while len(pyramid) < 5:
            blurred = cv2.GaussianBlur(pyramid[-1], (9, 9), 1.7, borderType=cv2.BORDER_REFLECT_101)
            pyramid.append(blurred[::2, ::2])
    weights = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    return sum(
        g * (np.abs(levels[0][j] - levels[1][j]).mean() + np.abs(levels[2][j] - levels[1][j]).mean())
        for j, g in enumerate(weights)
    )


def moved(frame, shift):
    """A frame (B, 3, H, W) looked at `shift` = (x, y) whole pixels further on; its border goes on."""
    h, w = frame.shape[2:]
    rows = (torch.arange(h) + shift[1]).clamp(0, h - 1)
    columns = (torch.arange(w) + shift[0]).clamp(0, w - 1)
    return frame[:, :, rows][:, :, :, columns]


def bilateral(image):
    """OpenCV's bilateral filter (d = 9, sigmas 10 and 5) of (B, C, H, W), tap by tap, with gradients."""
    h, w = image.shape[2:]
    padded = torch.nn.functional.pad(image, [4] * 4, mode="reflect")
    total, weights = 0, 0
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            if dx * dx + dy * dy <= 16:
                tap = padded[:, :, 4 + dy : 4 + dy + h, 4 + dx : 4 + dx + w]
                distance = (tap - image).abs().sum(1, keepdim=True)
                weight = torch.exp(-(distance**2) / (2 * 10**2) - (dx * dx + dy * dy) / (2 * 5**2))
                total, weights = total + weight * tap, weights + weight
    return total / weights


def halved(image):
    """Every second pixel of (B, C, H, W) after a Gaussian of 9 taps and sigma 1.7."""
    taps = [np.exp(-(k**2) / (2 * 1.7**2)) for k in range(-4, 5)]
    padded = torch.nn.functional.pad(image, [4] * 4, mode="reflect")
    h, w = image.shape[2:]
    rows = sum(tap / sum(taps) * padded[:, :, k : k + h] for k, tap in enumerate(taps))
    return sum(tap / sum(taps) * rows[:, :, :, k : k + w] for k, tap in enumerate(taps))[:, :, ::2, ::2]


def consistency(hdr_pq, shifts, norm, log_first=False, luma=False):
    """Equation 9 for clips (B, 3, 3, H, W) whose neighbours are moved back by whole pixels; `norm` is its |.|_1."""
    before, current, after = hdr_pq.unbind(1)
    frames = [moved(before, shifts[0]), current, moved(after, shifts[1])]
    pyramids = []
    for frame in frames:
        image = 255 * frame.clamp(0, 1)
        if luma:  # BT.2020's
            image = 0.2627 * image[:, 0:1] + 0.6780 * image[:, 1:2] + 0.0593 * image[:, 2:3]
        levels = [bilateral(torch.log(1 + image)) if log_first else torch.log(1 + bilateral(image))]
        while len(levels) < 5:
            levels.append(halved(levels[-1]))
        pyramids.append(levels)
    return sum(
        2.0 ** (j - 4) * (norm(pyramids[0][j] - pyramids[1][j]) + norm(pyramids[2][j] - pyramids[1][j]))
        for j in range(5)
    )
