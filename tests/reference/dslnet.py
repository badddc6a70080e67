"""DSLNet's default network written straight from the paper's text and equations, on a state dict; nothing is shared,
reordered or computed in parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d


def dslnet(sdr, w):
    """Sdr (1, 5, 3, H, W), H and W even, and the network's state dict -> hdr_pq (1, 3, H, W)."""
    frames = sdr.unbind(1)
    target = frames[2]
    x = torch.cat(frames, dim=1)
    channels = w["last.weight"].shape[1]

    def conv(x, name, stride=1):
        kernel = w[f"{name}.weight"]
        return F.conv2d(x, kernel, w.get(f"{name}.bias"), stride, padding=kernel.shape[-1] // 2)

    def depthwise(x, name):
        kernel = w[f"{name}.weight"]
        return F.conv2d(x, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2, groups=channels)

    # DMFA
    y = depthwise(F.relu(conv(x, "align.stem.0", 2)), "align.stem.2")
    squeezed = F.linear(y.mean((2, 3)), w["align.middle.squeeze.weight"])
    squeezed = F.layer_norm(squeezed, squeezed.shape[1:], w["align.middle.norm.weight"], w["align.middle.norm.bias"])
    kernels = F.linear(F.relu(squeezed), w["align.middle.predict.weight"], w["align.middle.predict.bias"])
    y = F.conv2d(y, kernels.view(channels, 1, 7, 7), w["align.middle.bias"], padding=3, groups=channels)
    y = F.relu(depthwise(y, "align.tail.0"))
    y = F.relu(F.conv_transpose2d(y, w["align.tail.2.weight"], w["align.tail.2.bias"], stride=2))
    offsets = conv(y, "align.offsets")
    aligned = F.relu(deform_conv2d(x, offsets, w["align.deform.weight"], w["align.deform.bias"], padding=1))

    # STFM, branch 1
    def condition(frame):
        for i in range(4):
            name = f"modulation.condition.{i}"
            frame = F.leaky_relu(F.avg_pool2d(conv(frame, f"{name}.conv"), 3, 2, 1), 0.2)
            frame = F.instance_norm(frame, weight=w[f"{name}.norm.weight"], bias=w[f"{name}.norm.bias"])
        return frame

    deep = [condition(frame) for frame in frames]
    spatial = conv(F.avg_pool2d(F.leaky_relu(deep[2], 0.2), 3, 2, 1), "modulation.sme.2")  # eq. 3
    spatial = F.interpolate(spatial, target.shape[2:], mode="bilinear").chunk(3, dim=1)
    temporal = conv(
        conv(torch.cat(deep, dim=1), "modulation.tme.0").mean((2, 3), keepdim=True), "modulation.tme.1"
    )  # eq. 4
    current = conv(conv(deep[2], "modulation.cme.0").mean((2, 3), keepdim=True), "modulation.cme.1")  # eq. 5
    current = current.chunk(3, dim=1)

    def modulate(x, v):  # eq. 6 and 7, with A = 1 + the first half
        return x * (1 + v[:, :channels]) + v[:, channels:]

    # STFM, branches 2 and 3
    modulated = modulate(conv(aligned, "modulation.convs.0"), temporal)
    for i in range(3):
        modulated = conv(F.relu(modulated), f"modulation.convs.{i + 1}")
        modulated = modulate(modulate(modulated, current[i]), spatial[i])

    def lkrb(x, name):
        return x + F.relu(depthwise(F.relu(conv(x, f"{name}.conv")), f"{name}.depthwise"))

    skip = F.leaky_relu(conv(F.leaky_relu(conv(aligned, "head.0")), "head.2"))
    for i in range(4):
        skip = lkrb(skip, f"blocks.{i}")
    fused = modulated + conv(skip, "skip")

    # LKQE
    out = F.relu(conv(fused, "enhance_head.0"))
    for i in range(4):
        out = lkrb(out, f"enhance.{i}")
    return conv(out, "last")
