from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitm.nets.swin import SwinBlocks


def attention_mask(H, W, window, shift):
    """True where two positions of the shifted map may see each other: neighbours in the map as it is, too."""
    region = np.zeros((H, W), int)
    for axis, size in enumerate((H, W)):
        index = np.arange(size)
        band = (index >= size - window).astype(int) + (index >= size - shift)
        region = 3 * region + (band[:, None] if axis == 0 else band[None])
    return region


def block(state, x, heads, window, shift):
    """One block of Liu et al. (2021), equation 3, on (H, W, C), window by window."""
    H, W, C = x.shape
    y = F.layer_norm(x, (C,), state["norm1.weight"], state["norm1.bias"]).roll((-shift, -shift), (0, 1))
    region = torch.from_numpy(attention_mask(H, W, window, shift) if shift else np.zeros((H, W), int))
    rows, columns = np.divmod(np.arange(window**2), window)
    dy, dx = (v[:, None] - v[None] + window - 1 for v in (rows, columns))
    bias = state["attn.relative_position_bias_table"][dy * (2 * window - 1) + dx].permute(2, 0, 1)
    out = torch.empty_like(y)
    for top in range(0, H, window):
        for left in range(0, W, window):
            at = (slice(top, top + window), slice(left, left + window))
            tokens = F.linear(y[at].reshape(-1, C), state["attn.qkv.weight"], state["attn.qkv.bias"])
            q, k, v = tokens.view(-1, 3, heads, C // heads).permute(1, 2, 0, 3)
            logits = q @ k.transpose(1, 2) * (C // heads) ** -0.5 + bias
            area = region[at].reshape(-1)
            logits = logits.masked_fill(area[:, None] != area[None], -torch.inf)
            heard = (logits.softmax(-1) @ v).transpose(0, 1).reshape(-1, C)
            out[at] = F.linear(heard, state["attn.proj.weight"], state["attn.proj.bias"]).view(window, window, C)
    x = x + out.roll((shift, shift), (0, 1))
    y = F.layer_norm(x, (C,), state["norm2.weight"], state["norm2.bias"])
    y = F.gelu(F.linear(y, state["mlp.fc1.weight"], state["mlp.fc1.bias"]))
    return x + F.linear(y, state["mlp.fc2.weight"], state["mlp.fc2.bias"])


@pytest.mark.parametrize("size", [(8, 12), (4, 4)])
@torch.no_grad()
def test_blocks_are_shifted_window_attention(size, rng):
    torch.manual_seed(0)
    network = SwinBlocks(8, blocks=3, heads=2, window=4)
    for parameter in network.parameters():
        parameter.normal_(0, 0.5, generator=rng)
    x = torch.randn(1, 8, *size, generator=rng)
    expected = x[0].permute(1, 2, 0)
    for i, shift in enumerate((0, 2, 0)):
        prefix = f"blocks.{i}."
        state = {k.removeprefix(prefix): v for k, v in network.state_dict().items() if k.startswith(prefix)}
        expected = block(state, expected, 2, 4, shift)
    torch.testing.assert_close(network(x)[0], expected.permute(2, 0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (13, 8), (16, 17)])
@torch.no_grad()
def test_any_size_is_the_map_with_its_border_repeated(size):
    network = SwinBlocks(16, blocks=2, heads=4, window=8)
    x = torch.randn(2, 16, *size)
    H, W = size
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (0, -H % 8), (0, -W % 8)], mode="edge")
    out = network(x)
    assert out.shape == x.shape
    torch.testing.assert_close(out, network(torch.from_numpy(padded))[:, :, :H, :W])


def test_parameters():
    """A block: two norms, qkv, projection, 15 x 15 biases of 8 heads, an MLP twice as wide."""
    mlp = 192 * 384 + 384 + 384 * 192 + 192
    block = 4 * 192 + 192 * 576 + 576 + 192 * 192 + 192 + 225 * 8 + mlp
    assert sum(p.numel() for p in SwinBlocks(192).parameters()) == 4 * block == 1_195_296
