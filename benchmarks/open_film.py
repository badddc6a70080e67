"""What a network gains on the open benchmark from the other scenes of a film, as in `vitm convert`.

    python -m benchmarks.open_film VIEWS         VIEWS: what `vitm prepare open` made

The views of each production stand for the scenes of one film that was made in this way; then all productions, mixed,
stand for one film. Printed are PSNR of PQ codes and delta E_ITP at the best gain, of each view by itself, and when the
network has seen twelve other views of its film.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from vitm.color import pq_inverse_eotf
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.best_level import at_best_level
from vitm.evaluation.open_benchmark import PEAK_NITS, benchmark_views
from vitm.metrics.functional import delta_e_itp, psnr
from vitm.nets.interface import SurveyingNetwork, stream
from vitm.zoo import load_network

SEEN = 12  # frames that a conversion looks at


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path)
    parser.add_argument("--network", default="default")
    parser.add_argument("--views-count", type=int, default=22)
    options = parser.parse_args()
    network, draw = load_network(options.network), torch.Generator().manual_seed(0)
    if not isinstance(network, SurveyingNetwork):
        raise SystemExit(f"{options.network} does not look at the whole of a film")
    nits = benchmark_views(options.views, options.views_count)
    targets = pq_inverse_eotf(nits).split(1)
    films = [[produce(light, production, PEAK_NITS)[None] for light in nits] for production in PRODUCTIONS.values()]
    everything = [sdr for film in films for sdr in film]

    def values(sdr: Tensor, target: Tensor, others: list[Tensor]) -> Tensor:
        network.survey([others[i] for i in torch.randperm(len(others), generator=draw)[:SEEN]])
        best = at_best_level(next(stream(network, [sdr])).clamp(0, 1), target)[0]
        return torch.stack([psnr(best, target)[0], delta_e_itp(best, target)[0]])

    print("| production | each by itself | a film | a film of all productions |")
    means = []
    for name, film in zip(PRODUCTIONS, films, strict=True):
        rows = []
        for sdr, target in zip(film, targets, strict=True):
            groups = ([], *([x for x in of if x is not sdr] for of in (film, everything)))
            rows.append(torch.stack([values(sdr, target, others) for others in groups]))
        means.append(torch.stack(rows).mean(0))
        print(line(name, means[-1]), flush=True)
    print(line("mean", torch.stack(means).mean(0)))


def line(name: str, values: Tensor) -> str:
    return f"| {name} | " + " | ".join(f"{db:.2f} / {error:.2f}" for db, error in values.tolist()) + " |"


if __name__ == "__main__":
    main()
