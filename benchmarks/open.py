"""The open benchmark's leaderboard: networks and curves, by production, as converted and at the best level.

    python -m benchmarks.open VIEWS --weights FOLDER --views 54        VIEWS: what `vitm prepare open` made

FOLDER holds released weights under the names below; those that are missing are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from vitm.color import DIFFUSE_WHITE_NITS, pq_eotf, pq_inverse_eotf
from vitm.color.midtones import midtone_stops
from vitm.data.open_scenes import remaster
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.best_level import at_best_level
from vitm.metrics.functional import delta_e_itp, psnr
from vitm.video import read_image
from vitm.zoo import OPERATORS, load_network

RELEASED = {
    "hdcfm": ("hdcfm", "hdcfm_official.pth.tar"),
    "hdrtvnet_plus AGCM": ("hdrtvnet_plus", "hdrtvnet_plus_AGCM.pth"),
    "hdrtvnet_plus AGCM+LE": ("hdrtvnet_plus", "hdrtvnet_plus_Ensemble_AGCM_LE.pth"),
    "hdrtvdm": ("hdrtvdm", "hdrtvdm.pth"),
}
PEAK_NITS = 1000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="a scene_map of yours, beside the shipped one")
    parser.add_argument("--views-count", type=int, default=54)
    parser.add_argument("--output", type=Path, default=Path("open.json"))
    options = parser.parse_args()
    files = sorted((options.views / "test" / "hdr").glob("*.png"))
    n = min(options.views_count, len(files))
    picked = [files[(2 * i + 1) * len(files) // (2 * n)] for i in range(n)]
    views = torch.stack([torch.from_numpy(read_image(f).astype("float32") / 65535).permute(2, 0, 1) for f in picked])
    nits = remaster(pq_eotf(views), 1.0, PEAK_NITS, 0.75)
    rows = {name: score(network, nits) for name, network in networks(options).items()}
    options.output.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def networks(options: argparse.Namespace) -> dict[str, nn.Module]:
    chosen = {name: load_network(name) for name in ("default", *OPERATORS)}
    if options.checkpoint:
        chosen["scene_map"] = load_network("scene_map", options.checkpoint)
    for name, (network, file) in RELEASED.items():
        if options.weights and (options.weights / file).is_file():
            chosen[name] = load_network(network, options.weights / file)
    return chosen


@torch.inference_mode()
def score(network: nn.Module, nits: Tensor) -> dict[str, dict[str, float]]:
    """Production -> PSNR and delta E_ITP, as converted with the automatic level and at the best one."""
    truth = pq_inverse_eotf(nits)
    result = {}
    for name, production in PRODUCTIONS.items():
        values, seconds = [], 0.0
        for light, target in zip(nits, truth, strict=True):
            sdr = produce(light, production, PEAK_NITS)[None]
            started = time.process_time()
            pred = network(sdr).clamp(0, 1)
            seconds += time.process_time() - started
            level, best = automatic_level(pred, sdr), at_best_level(pred, target[None])[0]
            values.append([float(metric(x, target[None])) for x in (level, best) for metric in (psnr, delta_e_itp)])
        means = torch.tensor(values).mean(0).tolist()
        keys = ("psnr_converted", "delta_e_itp_converted", "psnr", "delta_e_itp")
        result[name] = dict(zip(keys, means, strict=True)) | {"cpu_ms": 1000 * seconds / len(nits)}
    return result


def automatic_level(pred: Tensor, sdr: Tensor) -> Tensor:
    """As `vitm convert` sets it: mid-tones where the model puts them, but within 203 to 406 cd/m2 of white."""
    stops = midtone_stops(pred, sdr)
    if not len(stops):
        return pred
    white = DIFFUSE_WHITE_NITS * float(2 ** stops.median())
    gain = min(max(white, DIFFUSE_WHITE_NITS), 2 * DIFFUSE_WHITE_NITS) / white
    return pq_inverse_eotf((gain * pq_eotf(pred)).clamp(0, 10_000))


def table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = ["| system | picture: PSNR / dE | as converted: PSNR / dE | " + " | ".join(PRODUCTIONS) + " |"]
    lines.append("|" + " --- |" * (3 + len(PRODUCTIONS)))
    for name, by_production in sorted(rows.items(), key=lambda row: mean(row[1], "delta_e_itp")):
        cells = [f"{v['psnr']:.1f} / {v['delta_e_itp']:.1f}" for v in by_production.values()]
        pair = [
            f"{mean(by_production, 'psnr' + s):.2f} / {mean(by_production, 'delta_e_itp' + s):.2f}"
            for s in ("", "_converted")
        ]
        lines.append(f"| {name} | {pair[0]} | {pair[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(by_production: dict[str, dict[str, float]], key: str) -> float:
    return sum(values[key] for values in by_production.values()) / len(by_production)


if __name__ == "__main__":
    main()
