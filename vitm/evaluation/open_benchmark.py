"""The open benchmark: networks and curves on SDR of many productions, as converted and at the best level."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
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

PEAK_NITS = 1000.0
"""Mastering peak of the benchmark's HDR."""

Scores = Mapping[str, Mapping[str, float]]
"""Production -> name of a value -> mean of the views.

`psnr` and `delta_e_itp` are of the picture at its best gain, with `_converted` at the automatic level; `cpu_ms` is the
CPU time of a view.
"""


def benchmark_views(folder: Path, count: int) -> Tensor:
    """Return test views, evenly spread over the places, mastered to 1,000 cd/m2.

    Args:
        folder: what `vitm prepare open` made.
        count: number of views.

    Returns:
        (N, 3, H, W), linear BT.2020 in cd/m2.

    Raises:
        FileNotFoundError: the folder has no test views.
    """
    files = sorted((folder / "test" / "hdr").glob("*.png"))
    if not files:
        raise FileNotFoundError(f"no views in {folder / 'test' / 'hdr'}; make them with `vitm prepare open`")
    n = min(count, len(files))
    picked = [files[(2 * i + 1) * len(files) // (2 * n)] for i in range(n)]
    views = torch.stack([torch.from_numpy(read_image(f).astype("float32") / 65535).permute(2, 0, 1) for f in picked])
    return remaster(pq_eotf(views), 1.0, PEAK_NITS, 0.75)


@torch.inference_mode()
def score(network: nn.Module, nits: Tensor) -> Scores:
    """Measure a network of single frames on the views of `benchmark_views`, as each production shows them."""
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
    """Return a prediction at the level that `vitm convert` gives it.

    Mid-tones stay where the network puts them, but within 203 to 406 cd/m2 of SDR white.

    Args:
        pred: (..., 3, H, W), BT.2020 PQ code.
        sdr: the same shape, BT.709 code.
    """
    stops = midtone_stops(pred, sdr)
    if not len(stops):
        return pred
    white = DIFFUSE_WHITE_NITS * float(2 ** stops.median())
    gain = min(max(white, DIFFUSE_WHITE_NITS), 2 * DIFFUSE_WHITE_NITS) / white
    return pq_inverse_eotf((gain * pq_eotf(pred)).clamp(0, 10_000))


def mean(scores: Scores, value: str) -> float:
    """Return the mean of a value over the productions."""
    return sum(values[value] for values in scores.values()) / len(scores)


def leaderboard(rows: Mapping[str, Scores]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the leaderboard, titles first, then systems from the smallest colour error to the largest.

    Args:
        rows: system -> scores, as `score` measures them.
    """
    yield ("system", "picture: PSNR / dE", "as converted: PSNR / dE", *PRODUCTIONS, "CPU ms")
    for name, scores in sorted(rows.items(), key=lambda row: mean(row[1], "delta_e_itp")):
        pairs = (f"{mean(scores, 'psnr' + s):.2f} / {mean(scores, 'delta_e_itp' + s):.2f}" for s in ("", "_converted"))
        cells = (f"{scores[p]['psnr']:.1f} / {scores[p]['delta_e_itp']:.1f}" for p in PRODUCTIONS)
        yield (name, *pairs, *cells, f"{mean(scores, 'cpu_ms'):.0f}")
