"""How much KPN-MFI's consistency loss weighs beside its content loss, for each way to read equations 8 to 10.

    python -m benchmarks.balance SDR.mp4 HDR10.mp4 --at 30

Of three frames of a pair of videos; the prediction is the SDR frames through an analytic operator, and the flow DIS's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vitm.nets.flow import flow_estimator
from vitm.papers.kpn_mfi import losses
from vitm.papers.kpn_mfi.losses import BrightnessConsistencyLoss, OfficialConsistencyLoss, content_loss
from vitm.video import FrameReader
from vitm.zoo import load_network

ALPHA = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdr", type=Path)
    parser.add_argument("hdr", type=Path)
    parser.add_argument("--at", type=int, default=30, help="number of the first frame")
    parser.add_argument("--size", type=int, default=256, help="side of the crop in the middle")
    parser.add_argument("--operator", default="bt2446a")
    options = parser.parse_args()
    sdr, target = (triple(path, options.at, options.size) for path in (options.sdr, options.hdr))
    prediction = load_network(options.operator)(sdr).clamp(0, 1)
    flow = flow_estimator("dis")
    print("| reading | gradient of alpha L_T over that of L_C | share of the coarsest level in L_T |")
    print("| --- | --- | --- |")
    for name, arguments in {
        "means": {},
        "frame-sums": {"reduction": "frame_sum"},
        "as printed": {"reduction": "printed"},
        "means, log first": {"log_first": True},
        "means, of luma": {"luma": True},
    }.items():
        consistency = BrightnessConsistencyLoss(flow, **arguments)  # type: ignore[arg-type]
        content = size_of_gradient(
            lambda x: content_loss(x, target, arguments.get("reduction", "mean")),  # type: ignore[arg-type]  # noqa: B023
            prediction,
        )
        ratio = ALPHA * size_of_gradient(lambda x: consistency(x, sdr), prediction) / content  # noqa: B023
        print(f"| {name} | {ratio:.3f} | {coarsest_share(consistency, prediction, sdr):.1%} |")
    content = size_of_gradient(lambda x: content_loss(x, target, content="l1"), prediction)
    released = size_of_gradient(lambda x: OfficialConsistencyLoss()(x, sdr), prediction)
    print(f"| released objective, alpha 0.01 | {0.01 * released / content:.3f} | |")


def triple(path: Path, first: int, size: int) -> Tensor:
    """Return three frames of a video (1, 3, 3, size, size), as code in [0, 1]."""
    with FrameReader(path) as reader:
        frames = torch.stack(
            [torch.from_numpy(frame.rgb).permute(2, 0, 1) for frame in reader.read(range(first, first + 3))]
        )
    top, left = ((side - size) // 2 for side in frames.shape[2:])
    return frames[None, :, :, top : top + size, left : left + size]


def size_of_gradient(loss: Callable[[Tensor], Tensor], prediction: Tensor) -> float:
    """Return the L2 norm of a loss's gradient for the prediction."""
    x = prediction.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    return float(gradient.norm())


def coarsest_share(consistency: BrightnessConsistencyLoss, prediction: Tensor, sdr: Tensor) -> float:
    """Return the share of the coarsest level in the loss: what is left where the other levels weigh nothing."""
    whole, weights = consistency(prediction, sdr), losses.LEVEL_WEIGHTS
    losses.LEVEL_WEIGHTS = (0.0, 0.0, 0.0, 0.0, 1.0)  # type: ignore[assignment]
    try:
        return float(consistency(prediction, sdr) / whole)
    finally:
        losses.LEVEL_WEIGHTS = weights


if __name__ == "__main__":
    main()
