"""The frame metrics of `vitm.metrics` beside other libraries on a 1920x1080 frame: time, extra peak memory, difference.

python -m benchmarks.metrics [--only ssim] [--threads 1] [--rounds 3] [--save]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import colour
import piq
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from vitm.conversion.speed import PeakMemory, processor
from vitm.metrics import frame_metrics
from vitm.metrics.functional import delta_e_itp, psnr, quantize_16bit, sr_sim, ssim

Form = Callable[[Tensor, Tensor], object]

TABLE = ("psnr", "ssim", "ssim_kpn", "delta_e_itp", "sr_sim")
GAUSS = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def on_arrays(fn: Callable[..., Any], **options: Any) -> Form:
    """A metric of (truth, prediction) arrays (H, W, 3)."""

    def call(pred: Tensor, target: Tensor) -> object:
        return fn(*(x[0].permute(1, 2, 0).numpy() for x in (target, pred)), **options)

    return call


def colour_delta_e(target: Any, pred: Any) -> Any:
    ictcp = [
        colour.RGB_to_ICtCp(colour.models.eotf_ST2084(x), method="ITU-R BT.2100-2 PQ", L_p=10_000)
        for x in (target, pred)
    ]
    return colour.difference.delta_E_ITP(*ictcp).mean()


def whole_table(pred: Tensor, target: Tensor) -> float:
    metrics = frame_metrics(TABLE)
    metrics.update(pred, target)
    return float(sum(metrics.compute().values()))


# The last form is ours.
CASES: dict[str, dict[str, Form]] = {
    "psnr": {"scikit-image": on_arrays(peak_signal_noise_ratio, data_range=1), "vitm": psnr},
    "ssim": {
        "scikit-image": on_arrays(structural_similarity, channel_axis=-1, **GAUSS),
        "piq": lambda x, y: piq.ssim(x, y, data_range=1.0, downsample=False),
        "vitm": ssim,
    },
    "ssim_kpn": {
        "scikit-image": on_arrays(structural_similarity, channel_axis=-1, data_range=2),
        "vitm": lambda x, y: ssim(x, y, "kpn"),
    },
    "delta_e_itp": {"colour-science": on_arrays(colour_delta_e), "vitm": delta_e_itp},
    "sr_sim": {"piq": lambda x, y: piq.srsim(x, y, data_range=1.0), "vitm": sr_sim},
    "all five, from rounding to mean": {"vitm": whole_table},
}


def frames() -> tuple[Tensor, Tensor]:
    """A picture of blobs of several sizes, and the same with noise, as 16-bit codes in fp64."""
    torch.manual_seed(0)
    sizes = ((3, 5), (12, 20), (60, 100), (270, 480))
    target = sum(F.interpolate(torch.rand(1, 3, *size), (1080, 1920), mode="bicubic") / len(sizes) for size in sizes)
    assert isinstance(target, Tensor)
    return quantize_16bit(target + 0.01 * torch.randn_like(target)), quantize_16bit(target)


def measure(name: str, threads: int, rounds: int) -> list[str]:
    """Table rows of one case. The forms take turns; each row has the best of its rounds."""
    torch.set_num_threads(threads)
    pair = frames()
    best: dict[str, float] = {}
    peak, result = {}, {}
    for label, fn in CASES[name].items():
        fn(*pair)
        with PeakMemory("cpu") as memory:
            result[label] = float(fn(*pair))  # type: ignore[arg-type]
        peak[label] = memory.mib
    for _ in range(rounds):
        for label, fn in CASES[name].items():
            start = time.process_time()
            fn(*pair)
            seconds = time.process_time() - start
            best[label] = min(best.get(label, seconds), seconds)
    return [
        f"| {name} | {label} | {seconds:.2f} | {seconds / best['vitm']:.1f} | {peak[label]:.0f} | "
        f"{peak[label] / peak['vitm']:.1f} | {abs(result[label] - result['vitm']):.0e} |"
        for label, seconds in best.items()
    ]


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1 gives steady ratios)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write docs/results/benchmarks/metrics_cpu.md")
    args = parser.parse_args()

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "scikit-image", "piq", "colour-science"))
    lines = [
        f"{processor('cpu')}, {args.threads} thread(s), {versions}; one 1920x1080 pair, 16-bit codes in fp64",
        "",
        "| metric | form | CPU s | time / vitm | extra peak MiB | memory / vitm | difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as fresh:  # no case inherits another's heap
        for name in CASES:
            if args.only in name:
                rows = fresh.submit(measure, name, args.threads, args.rounds).result()
                lines += rows
                print("\n".join(rows), flush=True)
    if args.save:
        path = Path(__file__).parents[1] / "docs/results/benchmarks/metrics_cpu.md"
        path.write_text("\n".join(["# Metrics beside other implementations", "", *lines, ""]))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
