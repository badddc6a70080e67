"""HDR-VDP-3 of one pair: `vitm.metrics.functional.hdr_vdp3` against a plain program of the same definition.

python -m benchmarks.hdr_vdp3 [--size 1080 1920] [--only default] [--form vitm] [--rounds 3] [--threads 1]

The plain program is the definition written down step by step: complex Fourier transforms of the mirrored image of
twice the size, one convolution a filter, every plane by itself. It is also the independent reference of the tests.
Each form runs in a process of its own, after one call that fills its caches. Prints a table of CPU seconds a pair (the
best of the rounds), wall seconds, extra peak memory and the values, and checks that the values agree.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import pq_eotf
from vitm.conversion.speed import PeakMemory, processor
from vitm.metrics.functional.hdr_vdp3 import HDR_VDP3_CONFIGS, hdr_vdp3
from vitm.metrics.functional.hdr_vdp3_observer import BT2020_TO_NATIVE, NATIVE_TO_LMSR
from vitm.metrics.functional.steerable import BFILT, HI0FILT, LO0FILT, LOFILT

P, Q = 10**0.3424, 10**0.108934275615
K_SELF, K_NEIGHBOUR = 10**1.41846291721, 10**0.136877512403


def resize_axis(x: Tensor, size: int, axis: int) -> Tensor:
    """MATLAB's bicubic imresize along one axis, tap by tap."""
    old = x.shape[axis]
    scale = size / old
    stretch = min(scale, 1.0)
    centre = (np.arange(size) + 0.5) / scale - 0.5
    first = np.floor(centre - 2 / stretch).astype(int)
    taps = first[:, None] + np.arange(math.ceil(4 / stretch) + 2)
    d = np.abs((centre[:, None] - taps) * stretch)
    weights = np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
    weights /= weights.sum(1, keepdims=True)
    order = np.concatenate((np.arange(old), np.arange(old)[::-1]))
    result = torch.zeros(())
    for tap, weight in zip(order[taps % (2 * old)].T, weights.T, strict=True):
        w = torch.from_numpy(weight).to(x)
        result = result + x.index_select(axis, torch.from_numpy(tap)) * (w[:, None] if axis == 0 else w)
    return result


def resize(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape == like.shape else resize_axis(resize_axis(x, like.shape[0], 0), like.shape[1], 1)


def correlate(x: Tensor, kernel: np.ndarray, stride: int = 1, mode: str = "reflect") -> Tensor:
    pad = kernel.shape[0] // 2, kernel.shape[1] // 2
    x = F.pad(x[None, None], (pad[1], pad[1], pad[0], pad[0]), mode=mode)
    return F.conv2d(x, torch.from_numpy(kernel.copy()).to(x)[None, None], stride=stride)[0, 0]


def radius(shape: torch.Size, x: Tensor) -> Tensor:
    fy, fx = (torch.fft.fftfreq(n, dtype=x.dtype) for n in shape)
    return (fy[:, None] ** 2 + fx**2).sqrt()


def lookup(x: Tensor, nodes: Tensor, values: Tensor) -> Tensor:
    i = torch.searchsorted(nodes, x).clamp(1, len(nodes) - 1)
    weight = (x - nodes[i - 1]) / (nodes[i] - nodes[i - 1])
    return values[i - 1] * (1 - weight) + values[i] * weight


def table(log_light: np.ndarray, values: np.ndarray, x: Tensor) -> Tensor:
    return lookup(x, torch.from_numpy(log_light).to(x), torch.from_numpy(values).to(x))


def optics(rho: np.ndarray) -> np.ndarray:
    u, v = 0.061466549455263, 0.9972737002377707
    a = 0.426 * v, 0.574 * v, (1 - v) * u, (1 - v) * (1 - u)
    return sum(a_k * np.exp(-b_k * rho) for a_k, b_k in zip(a, (0.028, 0.37, 37, 360), strict=True))


def contrast_sensitivity(rho: float, log_light: np.ndarray, mtf: bool) -> np.ndarray:
    if rho <= 1e-4:
        return np.zeros_like(log_light)
    rows = np.array(
        [
            (1.26181, 4.27832, 0.361902, 3.11914),
            (0.893585, 4.27832, 0.361902, 2.18938),
            (0.84864, 3.57253, 0.530355, 3.12486),
            (0.699243, 3.94545, 0.68608, 4.41846),
            (0.530826, 4.25337, 0.866916, 4.65117),
            (0.459297, 3.78765, 0.981028, 4.33546),
            (0.312626, 4.15264, 0.952367, 3.22389),
        ]
    )
    light = np.log10([0.0002, 0.002, 0.02, 0.2, 2, 20, 150])
    p1, p2, p3, p4 = (np.interp(log_light, light, column) for column in rows.T)
    s = p4 / np.sqrt((1 + (p1 * rho) ** p2) / (1 - np.exp(-((rho / 7) ** 2))) ** p3)
    return s / optics(np.array(rho)) if mtf else s


def responses(log_light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    light = 10**log_light
    s_a = 315.98 * ((6.7977 / light) ** 1.6008 + 1) ** -0.25534
    d = np.log10(light / 1.1732)
    s_r = 10**1.8 * np.exp(-np.where(light > 1.1732, np.abs(d) ** 2.9899 / 0.5547, np.abs(d) ** 1.095 / 1.32))
    s_c = 0.5 * np.interp(np.minimum(2 * light, 1e5), light, np.maximum(s_a - s_r, 1e-3))
    areas = ((s[1:] + s[:-1]) / 2 * np.diff(log_light) * np.log(10) * 10**0.203943775672 for s in (s_c, s_r))
    cone, rod = (np.concatenate(([0.0], np.cumsum(area))) for area in areas)
    return cone, rod


def pupil(y: float, adapting: float) -> float:
    s = (adapting / 846) ** 0.41
    d_s = 7.75 - 5.75 * s / (s + 2)
    return d_s + (y - 28.58) * (0.02132 - 0.009562 * d_s)


def see(native: Tensor, ppd: float, display: str, mtf: bool) -> tuple[Tensor, Tensor]:
    """Photoreceptor response and adapting luminance of one image (C, H, W)."""
    H, W = native.shape[-2:]
    if mtf:
        filtered = []
        for channel in native:
            mirrored = torch.cat((channel, channel.flip(0)))
            mirrored = torch.cat((mirrored, mirrored.flip(1)), dim=1)
            transfer = torch.from_numpy(optics((ppd * radius(mirrored.shape, channel)).numpy())).to(channel)
            filtered.append(torch.fft.ifft2(torch.fft.fft2(mirrored) * transfer).real[:H, :W].clamp(1e-5, 1e10))
        native = torch.stack(filtered)
    matrix = torch.tensor(NATIVE_TO_LMSR[display], dtype=native.dtype)
    lmsr = torch.einsum("chw,cr->rhw", native, matrix).clamp(1e-8, 1e10)

    sigma = 10**-0.781367 * ppd
    log_light = (lmsr[0] + lmsr[1]).clamp(min=1e-6).log()
    if sigma >= 4.3:
        extended = F.pad(log_light[None, None], (0, W, 0, H), mode="replicate")[0, 0]
        gauss = torch.exp(-0.5 * (2 * math.pi * radius(extended.shape, native)) ** 2 * sigma**2)
        adapting = torch.fft.ifft2(torch.fft.fft2(extended) * gauss).real[:H, :W].exp()
    else:
        half = (math.floor(6 * sigma + 0.5) // 2 * 2 + 1) // 2
        taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
        taps /= taps.sum()
        adapting = correlate(correlate(log_light, taps[:, None], mode="replicate"), taps[None], mode="replicate").exp()
    scene = math.exp(float(adapting.log().mean())) * H * W / ppd**2
    lmsr = lmsr * (pupil(24, scene) / pupil(28, scene)) ** 2

    nodes = np.linspace(-5, 5, 2048)
    cone, rod = responses(nodes)
    long, medium, rods = (lmsr[i].clamp(1e-5, 1e5).log10() for i in (0, 1, 3))
    return table(nodes, cone, long) + table(nodes, cone, medium) + table(nodes, rod, rods), adapting


def decompose(x: Tensor, height: int) -> list[Tensor]:
    bands, lo = [correlate(x, HI0FILT)], correlate(x, LO0FILT)
    for _ in range(height):
        bands.append(correlate(lo, BFILT))
        lo = correlate(lo, LOFILT, stride=2)
    bands.append(lo)
    bands = [band / 2**i for i, band in enumerate(bands)]
    bands[-1] = bands[-1] - bands[-1].mean()
    return bands


def plain(pred: Tensor, target: Tensor, ppd: float = 60.0, display: str = "oled", mtf: bool = True) -> float:
    """Q of one pair of frames (3, H, W), BT.2020 PQ codes: the steps of the definition, one after another."""
    matrix = torch.tensor(BT2020_TO_NATIVE[display], dtype=pred.dtype)
    native = [torch.einsum("nc,chw->nhw", matrix, pq_eotf(x)).clamp(min=1e-6) for x in (pred, target)]
    mask = ((native[0] - native[1]).abs() / native[1] > 0.001).any(0).to(pred.dtype)
    (response_t, light_t), (response_r, light_r) = (see(x, ppd, display, mtf) for x in native)

    shortest, fitting = min(pred.shape[-2:]), 0
    while shortest >> fitting >= 13:
        fitting += 1
    height = min(math.ceil(math.log2(ppd)) - 2, fitting)
    test, reference = decompose(response_t, height), decompose(response_r, height)
    log_light = ((light_t + light_r) / 2).clamp(1e-5, 1e5).log10()
    masking = [
        correlate(torch.minimum(t.abs(), r.abs()), np.full((3, 3), 1 / 9), mode="constant")
        for t, r in zip(test, reference, strict=True)
    ]
    nodes = np.linspace(-5, 5, 256)
    error, last = 0.0, len(test) - 1
    for b, (t, r) in enumerate(zip(test, reference, strict=True)):
        difference = t - r
        if b == last:
            spectrum = torch.fft.fft2(difference).abs()
            spectrum[0, 0] = 0
            rho = 4 * ppd / 2 / 2**b * radius(difference.shape, difference).flatten()[spectrum.argmax()]
            s = torch.tensor(contrast_sensitivity(float(rho), log_light.mean().double().numpy(), mtf)).to(t)
        else:
            s = table(nodes, contrast_sensitivity(ppd / 2 / 2**b, nodes, mtf), resize(log_light, t).clamp(-5, 5))
        neighbours = torch.zeros_like(t)
        if b > 0:
            neighbours = neighbours + resize(masking[b - 1], t).clamp(min=0)
        if b < last - 1:
            neighbours = neighbours + resize(masking[b + 1], t).clamp(min=0)
        noise = K_SELF * masking[b] ** Q + K_NEIGHBOUR * neighbours**Q
        d = difference.sign() * difference.abs() ** P / (s ** (-2 * P) + noise**2).sqrt()
        d = torch.where(s == 0, 0.0, d) * resize(mask, t)
        error += float((d.abs() ** 0.8).mean() ** (1 / 0.8)) / len(test)
    return 10 - 4 - math.log(math.exp(-4) + error)


def measure(form: str, config: str, size: tuple[int, int], rounds: int) -> dict[str, float]:
    torch.manual_seed(0)
    target = torch.rand(1, 3, *size) * 0.6
    pred = (target + 0.01 * torch.randn_like(target)).clamp(0, 1)
    setting = HDR_VDP3_CONFIGS[config]

    def call() -> float:
        if form == "plain":
            return plain(pred[0], target[0], setting.ppd, setting.display, setting.mtf)
        return hdr_vdp3(pred, target, config, "q").item()

    best = {"cpu": math.inf, "wall": math.inf}
    with torch.inference_mode():
        with PeakMemory("cpu") as memory:
            value = call()
        for _ in range(rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            best["cpu"] = min(best["cpu"], time.process_time() - cpu)
            best["wall"] = min(best["wall"], time.perf_counter() - wall)
    return {**best, "mib": memory.mib, "value": value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(1080, 1920), metavar=("H", "W"))
    parser.add_argument("--only", choices=("default", "hdrtvnet", "kpn_mfi"), help="this configuration")
    parser.add_argument("--form", choices=("plain", "vitm"), help="only this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.inner:
        return print(json.dumps(measure(args.form, args.only, tuple(args.size), args.rounds)))
    size = f"{args.size[0]}x{args.size[1]}"
    print(f"{processor('cpu')}, {args.threads} thread(s), torch {torch.__version__}, fp32, {size}\n")
    print("| configuration | form | CPU s | time / vitm | s | extra peak MiB | Q |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for config in [args.only] if args.only else ["default", "hdrtvnet", "kpn_mfi"]:
        results = {}
        for form in [args.form] if args.form else ["vitm", "plain"]:
            command = [sys.executable, "-m", "benchmarks.hdr_vdp3", "--inner", "--form", form, "--only", config]
            options = ["--rounds", str(args.rounds), "--threads", str(args.threads), "--size", *map(str, args.size)]
            output = subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout
            result = results[form] = json.loads(output.splitlines()[-1])
            ratio = result["cpu"] / results["vitm"]["cpu"] if "vitm" in results else math.nan
            print(
                f"| {config}, {HDR_VDP3_CONFIGS[config].ppd:.4g} ppd | {form} | {result['cpu']:.2f} | {ratio:.1f} | "
                f"{result['wall']:.2f} | {result['mib']:.0f} | {result['value']:.6f} |",
                flush=True,
            )
        values = [result["value"] for result in results.values()]
        if max(values) - min(values) > 1e-4:
            raise SystemExit(f"{config}: the forms disagree: {values}")


if __name__ == "__main__":
    main()
