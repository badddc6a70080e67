"""The operators of `vitm.ops` beside the forms they replace: time, extra peak memory, largest difference.

python -m benchmarks.ops [--only pixel_conv] [--threads 1] [--device cuda] [--save] [--output FILE] [--dry-run]
"""

from __future__ import annotations

import argparse
import datetime
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kornia
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from vitm.conversion.speed import PeakMemory, processor
from vitm.ops.attention import correlate, softmax_attention
from vitm.ops.color_table import apply_color_table, by_grid_sample
from vitm.ops.ddf import by_shifts, ddf
from vitm.ops.deform import deform_conv2d, deform_conv2d_torch
from vitm.ops.filtering import bilateral_blur
from vitm.ops.large_kernel import depthwise_conv2d, dynamic_depthwise_conv2d
from vitm.ops.pixel_conv import by_taps, pixel_conv

FAILED = "failed:"


def windows(x: Tensor, kernels: Tensor) -> Tensor:
    """Pixel convolution over copied windows, the usual form in kernel-prediction networks."""
    B, C, H, W = x.shape
    k = math.isqrt(kernels.shape[1] // C)
    patches = F.pad(x, [k // 2] * 4).unfold(2, k, 1).unfold(3, k, 1).permute(0, 2, 3, 1, 4, 5).contiguous()
    weights = kernels.permute(0, 2, 3, 1).view(B, H, W, C, k * k)
    return (patches.view(B, H, W, C, k * k) * weights).sum(-1).permute(0, 3, 1, 2)


def unfold(x: Tensor, kernels: Tensor) -> Tensor:
    """Pixel convolution by `F.unfold`."""
    B, C, H, W = x.shape
    k = math.isqrt(kernels.shape[1] // C)
    patches = F.unfold(x, k, padding=k // 2).view(B, C, k * k, H, W)
    return (patches * kernels.view(B, C, k * k, H, W)).sum(2)


def softmax_matrix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.bmm(v, torch.softmax(torch.bmm(q.transpose(1, 2), k), dim=2).transpose(1, 2))


def correlation_matrix(p: Tensor, q: Tensor, v: Tensor) -> Tensor:
    return torch.bmm(v, torch.bmm(p.transpose(1, 2), q).transpose(1, 2))


def kornia_bilateral(x: Tensor) -> Tensor:
    """kornia's window is the full square of 81 taps, ours the disc of 49: the difference shows."""
    blurred: Tensor = kornia.filters.bilateral_blur(x, 9, 10.0, (5.0, 5.0), color_distance_type="l1")
    return blurred


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))


def depthwise_channels_last(x: Tensor, weight: Tensor) -> Tensor:
    return depthwise(x.contiguous(memory_format=torch.channels_last), weight)


def dynamic_depthwise(x: Tensor, kernels: Tensor) -> Tensor:
    """The samples folded into the channels of one grouped convolution."""
    B, C, H, W = x.shape
    return depthwise(x.reshape(1, B * C, H, W), kernels.view(B * C, 1, *kernels.shape[2:])).view(x.shape)


def torchvision_deform(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """The gradient of an offset jumps where the sample crosses a pixel's centre.

    There fp32's rounding decides: in some 10 of 3e6 offsets torchvision and we differ from fp64, and from each other.
    """
    out: Tensor = torchvision.ops.deform_conv2d(x, offset, weight, padding=1)
    return out


class Case(NamedTuple):
    shapes: tuple[tuple[int, ...], ...]
    variants: dict[str, Callable[..., Tensor]]  # the last one is ours
    backward: bool = False
    scale: float = 1.0


PIXEL_CONV = {
    "windows": windows,
    "F.unfold": unfold,
    "taps": by_taps,
    "vitm": pixel_conv,
}  # on a GPU, a kernel of Triton
SOFTMAX = {"m x m matrix": softmax_matrix, "vitm": softmax_attention}
DEPTHWISE = {
    "F.conv2d NCHW": depthwise,
    "F.conv2d channels-last": depthwise_channels_last,
    "vitm": depthwise_conv2d,
}
DYNAMIC = {"F.conv2d folded": dynamic_depthwise, "vitm": dynamic_depthwise_conv2d}
DEFORM = {"torchvision": torchvision_deform, "in one piece": deform_conv2d_torch, "vitm": deform_conv2d}
DDF = {"shifted products": by_shifts, "vitm": ddf}  # on a GPU, ours is a kernel of Triton
COLOR_TABLE = {"F.grid_sample": by_grid_sample, "vitm": apply_color_table}
CASES = {
    "ddf 64x540x960": Case(((1, 64, 540, 960), (1, 9, 540, 960), (1, 64, 9)), DDF),
    "ddf 64x540x960 forward + backward": Case(((1, 64, 540, 960), (1, 9, 540, 960), (1, 64, 9)), DDF, True),
    "color_table 2160x3840": Case(((1, 3, 2160, 3840), (1, 3, 33, 33, 33)), COLOR_TABLE),
    "color_table 1080x1920 forward + backward": Case(((1, 3, 1080, 1920), (1, 3, 33, 33, 33)), COLOR_TABLE, True),
    "pixel_conv 3x256x256": Case(((1, 3, 256, 256), (1, 75, 256, 256)), PIXEL_CONV),
    "pixel_conv 3x1080x1920": Case(((1, 3, 1080, 1920), (1, 75, 1080, 1920)), PIXEL_CONV),
    "pixel_conv 3x540x960 forward + backward": Case(((1, 3, 540, 960), (1, 75, 540, 960)), PIXEL_CONV, True),
    "softmax_attention m=4096": Case(((1, 8, 4096), (1, 8, 4096), (1, 64, 4096)), SOFTMAX),
    "softmax_attention m=8160": Case(((1, 8, 8160), (1, 8, 8160), (1, 64, 8160)), SOFTMAX),
    "softmax_attention m=4096 forward + backward": Case(((1, 8, 4096), (1, 8, 4096), (1, 64, 4096)), SOFTMAX, True),
    "softmax_attention m=8160 forward + backward": Case(((1, 8, 8160), (1, 8, 8160), (1, 64, 8160)), SOFTMAX, True),
    "correlate m=4096": Case(((1, 64, 4096),) * 3, {"m x m matrix": correlation_matrix, "vitm": correlate}),
    "bilateral_blur 3x512x512 forward + backward": Case(
        ((1, 3, 512, 512),), {"kornia": kornia_bilateral, "vitm": bilateral_blur}, True, 255.0
    ),
    "depthwise 17x17 64x135x240": Case(((1, 64, 135, 240), (64, 1, 17, 17)), DEPTHWISE),
    "depthwise 17x17 64x135x240 forward + backward": Case(((1, 64, 135, 240), (64, 1, 17, 17)), DEPTHWISE, True),
    "dynamic depthwise 7x7 64x135x240": Case(((1, 64, 135, 240), (1, 64, 7, 7)), DYNAMIC),
    "dynamic depthwise 7x7 4x64x64x64": Case(((4, 64, 64, 64), (4, 64, 7, 7)), DYNAMIC),
    "dynamic depthwise 7x7 4x64x64x64 forward + backward": Case(((4, 64, 64, 64), (4, 64, 7, 7)), DYNAMIC, True),
    "deform 3x3 15x540x960": Case(((1, 15, 540, 960), (1, 90, 540, 960), (64, 15, 3, 3)), DEFORM),
    "deform 3x3 15x135x240 forward + backward": Case(
        ((1, 15, 135, 240), (1, 90, 135, 240), (64, 15, 3, 3)), DEFORM, True
    ),
}


def rehearse(name: str) -> list[str]:
    """Call the forms of a case with tensors of a GPU that have no numbers: all must give one shape, on that device.

    There a form fails that mixes devices, or asks for numbers. Gradients need a GPU.
    """
    case = CASES[name]
    with FakeTensorMode():
        inputs = [torch.rand(shape, device="cuda") for shape in case.shapes]
        results = {label: fn(*inputs) for label, fn in case.variants.items()}
    shapes = {(*result.shape, result.device.type) for result in results.values()}
    if shapes != {(*results["vitm"].shape, "cuda")}:
        raise ValueError(f"the forms give different things: {shapes}")
    return [f"| {name} | {label} | | | | | |" for label in results]


def measure_or_say_why(name: str, device: str, threads: int, rounds: int, dry_run: bool) -> list[str]:
    """Table rows of one case, or one that says why there are none: the other cases go on."""
    try:
        return rehearse(name) if dry_run else measure(name, device, threads, rounds)
    except Exception as error:
        return [f"| {name} | {FAILED} {type(error).__name__}: {str(error).partition(chr(10))[0]} | | | | | |"]


def measure(name: str, device: str, threads: int, rounds: int) -> list[str]:
    """Table rows of one case. The variants take turns; each row has the best of its rounds."""
    case = CASES[name]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs = [(torch.rand(s, device=device) * case.scale).requires_grad_(case.backward) for s in case.shapes]

    weight = torch.randn(case.variants["vitm"](*inputs).shape, device=device)

    def call(fn: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        out = fn(*inputs)
        return (out.detach(), *torch.autograd.grad(out, inputs, weight)) if case.backward else (out,)

    def seconds(fn: Callable[..., Tensor]) -> float:
        if device == "cpu":
            start = time.process_time()
            call(fn)
            return time.process_time() - start
        torch.cuda.synchronize()
        start = time.perf_counter()
        call(fn)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    best, peak, results = {}, {}, {}
    for label, fn in case.variants.items():
        call(fn)
        with PeakMemory(device) as memory:
            call(fn)
        best[label], peak[label] = math.inf, memory.mib
    for _ in range(rounds):
        for label, fn in case.variants.items():
            best[label] = min(best[label], seconds(fn))
    for label, fn in case.variants.items():
        results[label] = call(fn)
    rows = []
    for label in case.variants:
        difference = max(
            float((a - b).abs().max() / a.abs().max()) for a, b in zip(results[label], results["vitm"], strict=True)
        )
        rows.append(
            f"| {name} | {label} | {best[label] * 1e3:.1f} | {best[label] / best['vitm']:.1f} | {peak[label]:.1f} | "
            f"{peak[label] / peak['vitm']:.1f} | {difference:.0e} |"
        )
    return rows


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name contains this")
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--threads", type=int, default=1, help="CPU threads (1 gives steady ratios)")
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--save", action="store_true", help="write docs/results/benchmarks/operators_<device>.md")
    options.add_argument("--output", type=Path, metavar="FILE", help="write the table there, after each case")
    options.add_argument("--dry-run", action="store_true", help="call all forms with a GPU's tensors without numbers")
    return options


def main() -> int:
    args = parser().parse_args()
    path = args.output
    if path is None and args.save:
        path = Path(__file__).parents[1] / "docs/results/benchmarks" / f"operators_{args.device}.md"

    machine = "nothing measured" if args.dry_run else processor(args.device)
    clock = "CPU ms" if args.device == "cpu" else "ms"
    lines = [
        f"{machine}, {args.threads} thread(s), torch {torch.__version__}, kornia {kornia.__version__}, fp32",
        "",
        f"| case | form | {clock} | time / vitm | extra peak MiB | memory / vitm | largest relative difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines))
    spawn = multiprocessing.get_context("spawn")
    apart = None if args.dry_run else 1  # tasks of a process: no case inherits another's heap
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=apart) as fresh:
        for name in CASES:
            if args.only in name:
                options = args.device, args.threads, args.rounds, args.dry_run
                rows = fresh.submit(measure_or_say_why, name, *options).result()
                lines += rows
                print("\n".join(rows), flush=True)
                if path is not None:
                    path.write_text("\n".join([f"# Operators, {datetime.date.today()}", "", *lines, ""]))
    if path is not None:
        print(f"written to {path}")
    return int(any(FAILED in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
