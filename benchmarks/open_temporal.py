"""How steady networks are over time on the open benchmark: beside the truth's own unsteadiness.

    python -m benchmarks.open_temporal PANORAMA.exr ...          panoramas of test places

For each place a nearly still camera (a hand's tremor) and one that turns by half a degree a frame, 24 frames each, and
every fixed production. Printed are the result's values as multiples of the truth's own: the 99th percentile of the
steps of mean PQ luma from frame to frame, and the warping error along the exact motion; the clip at the truth's level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitm.color import luminance, pq_eotf, pq_inverse_eotf
from vitm.data.filming.camera import Pose, frame, pose_flow
from vitm.data.filming.panorama import Panorama
from vitm.data.open_scenes import remaster
from vitm.data.prepare.open import Views
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.open_benchmark import PEAK_NITS
from vitm.metrics.functional import warping_error
from vitm.metrics.functional.flicker import mean_luma
from vitm.nets.interface import SurveyingNetwork, stream
from vitm.zoo import load_network

SIZE, FRAMES = (90, 160), 24


def poses(motion: str) -> list[Pose]:
    tremor = np.random.default_rng(0).normal(0, 0.03, (FRAMES, 2)).cumsum(0)
    turns = 0.5 * np.arange(FRAMES) if motion == "moving" else np.zeros(FRAMES)
    return [Pose(40 + float(t + yaw), float(pitch), 0.0, 60.0) for t, (yaw, pitch) in zip(turns, tremor, strict=True)]


def at_level_of(pred: Tensor, truth: Tensor) -> Tensor:
    """Return a clip with the one gain that gives it the mean logarithm of luminance of another."""
    light, wanted = (luminance(pq_eotf(x)).clamp(min=0.01).log().mean() for x in (pred, truth))
    return pq_inverse_eotf((wanted - light).exp() * pq_eotf(pred)).clamp(0, 1)


def unsteadiness(pred: Tensor, truth: Tensor, flows: tuple[Tensor, Tensor]) -> Tensor:
    steps = mean_luma(pred).diff().abs().quantile(0.99)
    return torch.stack((steps, warping_error(pred[None], truth[None], flows)[0].float()))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panoramas", type=Path, nargs="+")
    parser.add_argument("--networks", nargs="+", default=["default"])
    options = parser.parse_args()
    networks = {name: load_network(name) for name in options.networks}
    print("| network | motion | production | steps of luma | warping error |")
    for motion in ("still", "moving"):
        ratios: dict[tuple[str, str], list[Tensor]] = {}
        for file in options.panoramas:
            world, path = Panorama.open(file, Views().grey_nits, Views().peak_nits), poses(motion)
            frames = torch.stack([torch.from_numpy(frame(world, pose, SIZE)).permute(2, 0, 1) for pose in path]).float()
            nits = remaster(pq_eotf(frames), 1.0, PEAK_NITS, 0.75)
            truth, pairs = pq_inverse_eotf(nits), [*zip(path[1:], path[:-1], strict=True)]
            flows = tuple(
                torch.stack([pose_flow(*(pair if back else pair[::-1]), SIZE) for pair in pairs])[None]
                for back in (True, False)
            )
            own = unsteadiness(truth, truth, flows)
            for production, how in PRODUCTIONS.items():
                sdr = produce(nits, how, PEAK_NITS)
                for name, network in networks.items():
                    if isinstance(network, SurveyingNetwork):
                        network.survey(sdr[1::2].split(1))  # the twelve frames that `vitm convert` looks at
                    pred = torch.cat([*stream(network, sdr.split(1))]).clamp(0, 1)
                    ratio = unsteadiness(at_level_of(pred, truth), truth, flows) / own
                    ratios.setdefault((name, production), []).append(ratio)
        for (name, production), values in ratios.items():
            steps, warping = torch.stack(values).mean(0).tolist()
            print(f"| {name} | {motion} | {production} | {steps:.2f} | {warping:.2f} |", flush=True)


if __name__ == "__main__":
    main()
