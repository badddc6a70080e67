"""KPNiTM as `vitm.baselines.kpn_itm` describes it, as a plain program."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tests.reference.kpn_mfi import pixel_conv


def transposed(x, weight, bias):
    """Stride 2, kernel 4, one row and column cut off each side: every input pixel adds its kernel to the output."""
    _, channels, k, _ = weight.shape
    _, height, width = x.shape
    out = np.zeros((channels, 2 * height + 2, 2 * width + 2))
    for i, j in np.ndindex(height, width):
        out[:, 2 * i : 2 * i + k, 2 * j : 2 * j + k] += np.einsum("c,cdyx->dyx", x[:, i, j], weight)
    return out[:, 1:-1, 1:-1] + bias[:, None, None]


def kpn_itm(state, sdr, levels, kernel_size):
    """`state` maps names to fp64 arrays of a `KPNiTM`; sdr (3, H, W), fp64, H and W multiples of 2^(levels - 1)."""

    def conv(name, x, stride=1):
        w, b = (torch.from_numpy(state[f"{name}.{part}"]) for part in ("weight", "bias"))
        return F.conv2d(torch.from_numpy(x)[None], w, b, stride, w.shape[-1] // 2)[0].numpy()

    def pair(name, x):
        return np.maximum(conv(f"{name}.2", np.maximum(conv(f"{name}.0", x), 0)), 0)

    skips = [pair("first", sdr)]
    for i in range(levels - 1):
        skips.append(pair(f"encoder.{i}", np.maximum(conv(f"down.{i}", skips[-1], 2), 0)))
    x = skips.pop()
    for i in reversed(range(levels - 1)):
        up = np.maximum(transposed(x, state[f"up.{i}.weight"], state[f"up.{i}.bias"]), 0)
        x = pair(f"decoder.{i}", np.concatenate([up, skips[i]]))
    kernels = conv("kernels", pair("tail", x))
    return pixel_conv(sdr, kernels.reshape(3, kernel_size, kernel_size, *sdr.shape[1:]))
