"""DeepHDR's soft partial convolutions and its U-Net, written out slowly in NumPy from the paper."""

from __future__ import annotations

import numpy as np


def convolve(x, weight, stride):
    """x (C, H, W), weight (D, C, k, k), zeros outside, k // 2 of them -> (D, H', W')."""
    k = weight.shape[-1]
    padded = np.pad(x, [(0, 0)] + [(k // 2, k // 2)] * 2)
    rows, columns = (range(0, n, stride) for n in x.shape[1:])
    out = np.zeros((len(weight), len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            out[:, i, j] = np.einsum("dcyx,cyx->d", weight, padded[:, top : top + k, left : left + k])
    return out


def partial_conv(x, mask, weight, bias, stride, eps=1e-6):
    """X' = W * (X M) + b, and M' = (|W| / (|W|_1 + eps)) * M."""
    features = convolve(x * mask, weight, stride) + (0 if bias is None else bias[:, None, None])
    size = np.abs(weight) / (np.abs(weight).sum(axis=(1, 2, 3), keepdims=True) + eps)
    return features, convolve(mask, size, stride)


def exposure_mask(sdr, threshold=0.95):
    """1 up to the threshold, then a straight line to 0 at 1."""
    return np.interp(sdr, [threshold, 1.0], [1.0, 0.0])


def network(state, sdr, layers, frame=None):
    """`state` maps names to arrays of a `DeepHDR` with so many layers; sdr (3, H, W), H and W multiples of 2^layers.

    `frame` is what goes in instead of `sdr`, of which the mask is.
    """
    x, mask, skips = sdr if frame is None else frame, exposure_mask(sdr), []
    for i in range(layers):
        skips.append(x)
        x, mask = partial_conv(x, mask, state[f"encoder.{i}.conv.weight"], None, 2)
        x = np.maximum(x, 0)
    for i in reversed(range(layers)):
        x, mask = (np.repeat(np.repeat(y, 2, axis=1), 2, axis=2) for y in (x, mask))
        x, mask = np.concatenate([x, skips[i]]), np.concatenate([mask, np.ones_like(skips[i])])
        bias = state.get(f"decoder.{i}.conv.bias")
        x, mask = partial_conv(x, mask, state[f"decoder.{i}.conv.weight"], bias, 1)
        x = np.where(x > 0, x, 0.2 * x) if i else x
    return x
