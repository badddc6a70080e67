"""Pictures of the open benchmark: a sheet for each production, eight test views in columns, and one of the worst.

    python -m benchmarks.open_pictures VIEWS docs/results/open --weights FOLDER     VIEWS: of `vitm prepare open`

Rows: SDR, truth, the default, HDCFM (the authors' weights), inverse BT.2446 A. All but SDR are at their best gain and
shown by the same curve, Reinhard's with its white at 1,000 cd/m2. `worst` has the views of which the default's PSNR is
lowest, one of each place: their numbers are printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import imageio.v3 as imageio
import torch
from torch import Tensor

from benchmarks.open import RELEASED
from vitm.color import bt2020_to_bt709, luminance, pq_eotf, pq_inverse_eotf, srgb_inverse_eotf
from vitm.color.curves import CURVES
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.best_level import at_best_level
from vitm.evaluation.open_benchmark import PEAK_NITS, benchmark_views
from vitm.metrics.functional import psnr
from vitm.zoo import load_network

_WHITE_NITS = 250.0  # light that the curve shows at half of white


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    nits = benchmark_views(options.views, 22)
    name, file = RELEASED["hdcfm"]
    networks = [load_network("default"), load_network(name, options.weights / file), load_network("bt2446a")]
    options.output.mkdir(parents=True, exist_ok=True)
    columns = []  # SDR, truth and results of each view and production, (5, 3, H, W), and the default's PSNR
    for production_name, production in PRODUCTIONS.items():
        for view, light in enumerate(nits):
            sdr, truth = produce(light, production, PEAK_NITS)[None], pq_inverse_eotf(light)[None]
            results = [at_best_level(network(sdr).clamp(0, 1), truth)[0] for network in networks]
            column = torch.cat([sdr, *(shown(hdr_pq) for hdr_pq in (truth, *results))])
            columns.append((float(psnr(results[0], truth)), production_name, view, column))
        write_sheet(options.output / f"{production_name}.webp", [x[-1] for x in columns[-len(nits) :: 3]])
    worst: dict[int, tuple[float, str, int, Tensor]] = {}
    for column_of in sorted(columns, key=itemgetter(0)):
        worst.setdefault(column_of[2] // 2, column_of)  # two views of each place
    write_sheet(options.output / "worst.webp", [x[-1] for x in [*worst.values()][:8]])
    for value, production_name, view, _ in [*worst.values()][:8]:
        print(f"view {view}, {production_name}: {value:.1f} dB")


def write_sheet(file: Path, columns: Sequence[Tensor]) -> None:
    sheet = torch.cat([torch.cat([*column], -2) for column in columns], -1)
    imageio.imwrite(file, (sheet * 255).round().byte().permute(1, 2, 0).numpy(), quality=35)


def shown(hdr_pq: Tensor) -> Tensor:
    """Return what a picture looks like on an SDR display: (B, 3, H, W), PQ code -> sRGB code."""
    light = bt2020_to_bt709(pq_eotf(hdr_pq)).clamp(min=0) / _WHITE_NITS
    grey = luminance(light, "bt709").clamp(min=1e-6)
    curved = light * (CURVES["reinhard"](grey, torch.tensor(1000 / _WHITE_NITS), 1.0) / grey)
    return srgb_inverse_eotf(curved.clamp(0, 1))


if __name__ == "__main__":
    main()
