"""HDR-VQM in NumPy, band by band, from its description; slow."""

from __future__ import annotations

import colour
import numpy as np
from scipy.interpolate import CubicSpline


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def imresize(image, size):
    """MATLAB's bicubic, one output sample after the other, rows and then columns."""
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        n, m = image.shape[0], size[axis]
        scale = m / n
        shrink = min(scale, 1)
        rows = []
        for k in range(m):
            u = (k + 0.5) / scale - 0.5
            taps = np.arange(int(np.floor(u - 2 / shrink)), int(np.ceil(u + 2 / shrink)) + 1)
            weights = np.array([cubic(shrink * (u - t)) for t in taps])
            source = [t if t < n else 2 * n - 1 - t for t in taps % (2 * n)]
            rows.append(np.tensordot(weights / weights.sum(), image[source], axes=1))
        image = np.moveaxis(np.stack(rows), 0, axis)
    return image


def log_gabor(image, scale, orientation):
    """The magnitude of one band."""
    rows, cols = image.shape
    x, y = np.meshgrid(np.arange(-cols // 2, cols // 2) / (cols / 2), np.arange(-rows // 2, rows // 2) / (rows / 2))
    radius = np.sqrt(x**2 + y**2)
    radius[rows // 2, cols // 2] = 1
    wanted = 2 / (3 * 3**scale)
    radial = np.exp(-(np.log(radius / wanted) ** 2) / (2 * np.log(0.55) ** 2))
    radial[rows // 2, cols // 2] = 0
    theta, angle = np.arctan2(y, x), orientation * np.pi / 4
    away = np.abs(
        np.arctan2(
            np.sin(theta) * np.cos(angle) - np.cos(theta) * np.sin(angle),
            np.cos(theta) * np.cos(angle) + np.sin(theta) * np.sin(angle),
        )
    )
    angular = np.exp(-(away**2) / (2 * (np.pi / 4 / 1.5) ** 2))
    return np.abs(np.fft.ifft2(np.fft.fft2(image) * np.fft.ifftshift(radial * angular)))


def similarity_map(pred, target, log10_nodes, pu_nodes):
    """Two frames (H, W, 3) of PQ codes -> (512, 896)."""
    spline = CubicSpline(log10_nodes, pu_nodes)
    images = []
    for code in (pred, target):
        light = np.clip(colour.models.eotf_ST2084(code) @ np.array([0.2627, 0.6780, 0.0593]), 0.03, 4500)
        images.append(imresize(spline(np.log10(light)), (512, 896)))
    total = 0
    for scale in range(5):
        for orientation in range(4):
            a, b = (log_gabor(image, scale, orientation) for image in images)
            total = total + (2 * a * b + 0.2) / (a**2 + b**2 + 0.2)
    return total


def pool(values, share):
    """Mean of the lowest 1 + round(share (K - 1)) values along the first axis, with MATLAB's rounding."""
    count = 1 + int(np.floor(share * (len(values) - 1) + 0.5))
    return np.sort(values, axis=0)[:count].mean(axis=0)


def hdr_vqm(maps, n):
    """Maps of frames (T, 512, 896) -> the clip's value; T <= n is one run of T frames."""
    length = len(maps)
    starts = [s - 1 for s in range(1, length - n + 1, n)]  # MATLAB's 1:n:(T - n)
    runs = [maps[s : s + n] for s in starts] if starts else [maps]
    columns = []
    for run in runs:
        tubes = [run[:, r : r + 64, c : c + 64] for r in range(0, 512, 64) for c in range(0, 896, 64)]
        columns.append([np.std(tube, ddof=1) for tube in tubes])
    return pool(pool(np.array(columns).T, 0.3), 0.3)


def image_mode(similarity):
    """Pooled over rows, then columns."""
    return pool(pool(similarity, 0.5), 0.5)
