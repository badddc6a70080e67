"""HDRUNet as a plain program, layer by layer from the paper's Figure 2 and the released network's description."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def hdrunet(state, x, blocks):
    """`state` maps names to arrays of an `HDRUNet`; x (B, 3, H, W), H and W multiples of 4."""

    def conv(name, x, stride=1):
        w = torch.from_numpy(state[f"{name}.weight"])
        return F.conv2d(x, w, torch.from_numpy(state[f"{name}.bias"]), stride, w.shape[-1] // 2)

    def leaky(x):
        return torch.where(x > 0, x, 0.1 * x)

    def relu(x):
        return torch.where(x > 0, x, 0.0)

    def modulate(name, x, condition):
        scale = conv(f"{name}.scale.2", leaky(conv(f"{name}.scale.0", condition)))
        shift = conv(f"{name}.shift.2", leaky(conv(f"{name}.shift.0", condition)))
        return x * scale + x + shift

    def trunk(name, x, condition, n):
        for i in range(n):
            y = relu(conv(f"{name}.{i}.conv1", modulate(f"{name}.{i}.mod1", x, condition)))
            x = x + conv(f"{name}.{i}.conv2", modulate(f"{name}.{i}.mod2", y, condition))
        return x

    def twice(name, x):
        """Channels 4 c + 2 i + j of a convolution become row i and column j of channel c."""
        y = conv(name, x).numpy()
        out = np.empty((len(y), y.shape[1] // 4, 2 * y.shape[2], 2 * y.shape[3]), y.dtype)
        for i, j in np.ndindex(2, 2):
            out[:, :, i::2, j::2] = y[:, 2 * i + j :: 4]
        return relu(torch.from_numpy(out))

    mask = x
    for i in range(4):
        mask = conv(f"weighting.{2 * i}", mask if i == 0 else relu(mask))

    condition = x
    for i in range(3):
        condition = leaky(conv(f"condition.{2 * i}", condition))
    full_c = conv("heads.0.2", leaky(conv("heads.0.0", condition)))
    half_c = conv("heads.1.2", leaky(conv("heads.1.0", condition, 2)))
    quarter_c = conv("heads.2.2", leaky(conv("heads.2.0", condition, 2)), 2)

    full = relu(conv("second", modulate("mod_in", relu(conv("first", x)), full_c)))
    half = trunk("trunks.0", relu(conv("down.0", full, 2)), half_c, blocks[0])
    quarter = relu(conv("down.1", half, 2))
    y = trunk("trunks.1", quarter, quarter_c, blocks[1]) + quarter
    y = trunk("trunks.2", twice("up.0", y) + half, half_c, blocks[2])
    y = relu(conv("third", modulate("mod_out", twice("up.1", y) + full, full_c)))
    return mask * x + conv("last", y)
