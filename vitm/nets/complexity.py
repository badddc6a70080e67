"""Parameters and multiply-adds of a network, counted as the papers' tables count them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def count_parameters(network: nn.Module) -> int:
    """Count trainable and frozen parameters.

    Example:
        >>> count_parameters(nn.Linear(3, 4))
        16
    """
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def count_macs(network: nn.Module, x: Tensor) -> int:
    """Count the multiply-adds of one call with `x`, by the rule behind the papers' "GFLOPs".

    Convolutions and linear layers count one per multiply-add and one per bias addition, transposed convolutions as if
    each output saw every tap, whatever the stride; LeakyReLU counts one per element; matrix products (attention) and
    everything else count nothing. HDRUNet counts 23.42230 G by this rule, which its papers print as 23.4223 GFLOPs.

    Args:
        network: any module.
        x: input of the network; a 3-frame clip counts three frames. Networks that infer in overlapping bands of rows
            count the overlap too, so give a size that is one band.

    Returns:
        The number of multiply-adds.

    Example:
        >>> count_macs(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 10, 10))  # 27 taps and a bias
        22400
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.LeakyReLU):
            total += output.numel()
        elif isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            per_output = module.weight[0].numel() + (module.bias is not None)
            total += output.numel() * per_output
        elif isinstance(module, nn.ConvTranspose2d):
            per_output = module.weight[:, 0].numel() // module.groups + (module.bias is not None)
            total += output.numel() * per_output

    training = [m for m in network.modules() if m.training]
    handles = [m.register_forward_hook(count) for m in network.modules()]
    try:
        network.eval()(x)  # batch normalisation would learn from x, or refuse a single value
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True
    return total
