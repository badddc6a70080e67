"""HDCFM written out slowly in NumPy from the paper and the released network's description."""

from __future__ import annotations

import numpy as np


def ddf(x, spatial, channel):
    """x (C, H, W), spatial (9, H, W), channel (C, 9) -> (C, H, W): pixel by pixel, zeros outside."""
    c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(x)
    for i, j in np.ndindex(h, w):
        window = padded[:, i : i + 3, j : j + 3].reshape(c, 9)
        out[:, i, j] = (window * spatial[:, i, j] * channel).sum(axis=1)
    return out


def average3(x, stride):
    """3x3 averages of (C, H, W) that count the zeros outside."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = range(0, x.shape[1], stride), range(0, x.shape[2], stride)
    return np.array([[[p[i : i + 3, j : j + 3].mean() for j in columns] for i in rows] for p in padded])


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


class Network:
    """`state` maps names to arrays of an `HDCFM` with the switches `changes`."""

    def __init__(self, state, **changes):
        self.state, self.changes = state, changes

    def paper(self, switch):
        return self.changes.get(switch, "released") == "paper"

    def conv(self, name, x):
        """1x1 convolution."""
        return np.einsum("dc,chw->dhw", self.state[f"{name}.weight"][:, :, 0, 0], x) + self.bias(name)

    def bias(self, name):
        return self.state[f"{name}.bias"][:, None, None]

    def dynamic(self, name, x):
        mean = x.mean(axis=(1, 2), keepdims=True)
        if self.paper("kernels"):
            spatial = self.conv(f"{name}.spatial.2", np.maximum(self.conv(f"{name}.spatial.0", x), 0))
            channel = self.conv(f"{name}.channel.0", mean)
        else:
            spatial = self.conv(f"{name}.spatial.0", x)
            channel = self.conv(f"{name}.channel.2", np.maximum(self.conv(f"{name}.channel.0", mean), 0))
        return ddf(x, spatial, channel.reshape(-1, 9))

    def context(self, name, x):
        v = x.mean(axis=(1, 2), keepdims=True)
        if self.changes.get("pooling") == "attention":
            logits = self.conv(f"{name}.attention", x)
            weights = np.exp(logits - logits.max())
            v = (x * weights / weights.sum()).sum(axis=(1, 2), keepdims=True)
        v = self.dynamic(f"{name}.transform.1", self.conv(f"{name}.transform.0", v))
        v = (v - v.mean()) / np.sqrt(v.var() + 1e-5)
        v = v * self.state[f"{name}.transform.2.weight"] + self.state[f"{name}.transform.2.bias"]
        v = self.conv(f"{name}.transform.5", self.dynamic(f"{name}.transform.4", np.maximum(v, 0)))
        return x / (1 + np.exp(-v))

    def estimate(self, sdr):
        """Global vector (6, 1, 1), local map (6, H, W)."""
        x = sdr
        for i in range(5):
            x = leaky_relu(average3(self.conv(f"estimator.blocks.{i}.conv", x), 2))
            if i < 4:
                mean, var = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
                weight = self.state[f"estimator.blocks.{i}.norm.weight"][:, None, None]
                x = (x - mean) / np.sqrt(var + 1e-5) * weight + self.bias(f"estimator.blocks.{i}.norm")
        vector = self.conv("estimator.global_head", x).mean(axis=(1, 2), keepdims=True)
        rows = np.arange(sdr.shape[1]) * x.shape[1] // sdr.shape[1]
        columns = np.arange(sdr.shape[2]) * x.shape[2] // sdr.shape[2]
        return vector, leaky_relu(average3(self.conv("estimator.local_head", x[:, rows][:, :, columns]), 1))

    def modulate(self, name, x, conditions):
        offset = 0 if self.paper("modulation") else 1
        return x * (self.conv(f"{name}.scale", conditions) + offset) + self.conv(f"{name}.shift", conditions)

    def __call__(self, sdr):
        """sdr (3, H, W) -> hdr_pq (3, H, W)."""
        vector, local = self.estimate(sdr)
        filter_, gate, conv = self.dynamic, self.context, self.conv
        pair = (filter_, gate) if self.paper("dyct_order") else (gate, filter_)
        stages = [(conv, *pair, *pair), (filter_, gate, conv), (filter_, gate, filter_, gate, conv)]
        x = sdr
        for i, layers in enumerate(stages):
            for j, layer in enumerate(layers):
                x = layer(f"stages.{i}.{j}", x)
            x = self.modulate(f"global_mods.{i}", x, vector)
            if i < 2:
                x = np.maximum(self.modulate(f"local_mods.{i}", x, local), 0)
        return x
