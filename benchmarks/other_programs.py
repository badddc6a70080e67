"""Networks and curves on SDR that other programs made, from other material than the open benchmark's.

    python -m benchmarks.other_programs PHOTO.exr ... CLIP.mov ... --pairs FOLDER --weights FOLDER

Photographs are linear EXR of BT.709 primaries; of HDR clips three frames are taken. FFmpeg's `tonemap` filter, OpenCV's
operators and the ACES fit of Narkowicz make SDR of them. `--pairs` is what `vitm prepare ultrahdr` made: the SDR of
cameras and phones. Nothing of this was in a training. Printed are PSNR of PQ codes and delta E_ITP, at the best gain of
each picture, and as converted with the automatic level.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.open import networks
from vitm.color import bt709_to_bt2020, bt1886_eotf, bt1886_inverse_eotf, bt2020_to_bt709, pq_eotf, pq_inverse_eotf
from vitm.data.open_scenes import remaster
from vitm.evaluation.best_level import at_best_level
from vitm.evaluation.open_benchmark import PEAK_NITS, automatic_level
from vitm.metrics.functional import delta_e_itp, psnr
from vitm.video import probe, read_image

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WIDTH = 240
MID_GREY_NITS = 22.0  # log-average luminance that photographs are mastered to

Pair = tuple[Tensor, Tensor]
"""SDR code of BT.709 and light of BT.2020 in cd/m2, each (3, H, W)."""


def small(light: Tensor) -> Tensor:
    """Return linear light 240 pixels wide and of an even height, by area: (3, H, W) -> (3, h, 240)."""
    height = 2 * round(light.shape[1] * WIDTH / light.shape[2] / 2)
    resized = cv2.resize(light.permute(1, 2, 0).numpy(), (WIDTH, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(resized).permute(2, 0, 1)


def photograph(file: Path) -> Tensor:
    light = torch.from_numpy(np.asarray(read_image(file), np.float32)[..., :3].copy()).permute(2, 0, 1)
    nits = small(bt709_to_bt2020(light.clamp(min=0)).clamp(min=0))
    luma = (nits * torch.tensor([0.2627, 0.6780, 0.0593])[:, None, None]).sum(0)
    return remaster(nits * MID_GREY_NITS / float(luma.clamp(min=1e-6).log().mean().exp()), 1.0, PEAK_NITS, 0.75)


def clip(file: Path) -> Iterator[Tensor]:
    count = probe(file).n_frames
    for i in (1, 3, 5):
        select = f"select=eq(n\\,{i * count // 6}),zscale=t=linear:npl=100,format=gbrpf32le"
        codes = f"{select},zscale=p=bt2020:t=smpte2084:m=gbr:r=pc,format=gbrp16le"
        command = [FFMPEG, "-v", "error", "-i", str(file), "-vf", codes, "-frames:v", "1"]
        png = subprocess.run([*command, "-f", "image2pipe", "-c:v", "png", "-"], capture_output=True, check=True).stdout
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float32) / 65535
        yield small(pq_eotf(torch.from_numpy(pixels.copy()).permute(2, 0, 1))).clamp(0, PEAK_NITS)


def rounded(code: Tensor) -> Tensor:
    return (code.clamp(0, 1) * 255).round() / 255


def by_ffmpeg(operator: str) -> Callable[[Tensor], Tensor]:
    """Return FFmpeg's usual chain: white at 100 cd/m2, BT.709, `tonemap`, 8 bits of Y'CbCr."""
    filters = (
        "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=gbr:range=pc,"
        "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,"
        f"tonemap={operator}:desat=0,zscale=t=bt709:m=bt709:r=tv,format=yuv444p,"
        "setparams=colorspace=bt709:range=tv,zscale=m=gbr:r=pc:t=bt709,format=gbrp,format=rgb24"
    )

    def make(nits: Tensor) -> Tensor:
        codes = (pq_inverse_eotf(nits).permute(1, 2, 0).numpy() * 65535 + 0.5).astype("<u2")
        height, width, _ = codes.shape
        source = ["-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-i", "-"]
        command = [FFMPEG, "-v", "error", *source, "-vf", filters, "-f", "rawvideo", "-"]
        pixels = subprocess.run(command, input=codes.tobytes(), capture_output=True, check=True).stdout
        rgb = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255

    return make


def by_opencv(operator: Callable[[], cv2.Tonemap]) -> Callable[[Tensor], Tensor]:
    def make(nits: Tensor) -> Tensor:
        light = np.ascontiguousarray((bt2020_to_bt709(nits).clamp(min=0) / 100).permute(1, 2, 0))
        return rounded(torch.from_numpy(np.nan_to_num(operator().process(light))).permute(2, 0, 1))

    return make


def by_aces(nits: Tensor) -> Tensor:
    x = 0.6 * bt2020_to_bt709(nits).clamp(min=0) / 100
    return rounded((x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)).clamp(0, 1) ** (1 / 2.2))


PROGRAMS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"FFmpeg {name}": by_ffmpeg(name) for name in ("mobius", "hable", "reinhard", "clip", "linear")},
    "ACES": by_aces,
    "OpenCV Drago": by_opencv(lambda: cv2.createTonemapDrago(2.2, 1.0, 0.85)),
    "OpenCV Reinhard": by_opencv(lambda: cv2.createTonemapReinhard(2.2, 0, 0, 0)),
    "OpenCV Mantiuk": by_opencv(lambda: cv2.createTonemapMantiuk(2.2, 0.85, 1.0)),
}


def cameras(folder: Path) -> Iterator[Pair]:
    for file in sorted(folder.glob("*/sdr/*.png")):
        sdr, hdr = (torch.from_numpy(read_image(f)).permute(2, 0, 1) for f in (file, _target(file)))
        nits = small(pq_eotf(hdr.float() / 65535))
        yield rounded(bt1886_inverse_eotf(small(bt1886_eotf(sdr.float() / 255)))), nits


def _target(file: Path) -> Path:
    return file.parents[1] / "hdr" / file.name


@torch.inference_mode()
def score(network: nn.Module, pairs: Sequence[Pair]) -> list[float]:
    """Return PSNR and delta E_ITP at the best gain, then both as converted: means of the pictures."""
    values = []
    for sdr, nits in pairs:
        target, pred = pq_inverse_eotf(nits)[None], network(sdr[None]).clamp(0, 1)
        levels = (at_best_level(pred, target)[0], automatic_level(pred, sdr[None]))
        values.append([float(metric(level, target)) for level in levels for metric in (psnr, delta_e_itp)])
    means: list[float] = torch.tensor(values).mean(0).tolist()
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="yours, named `NETWORK, trained`")
    options = parser.parse_args()
    scenes = [x for file in options.files for x in ([photograph(file)] if file.suffix == ".exr" else clip(file))]
    pairs = {name: [(make(nits), nits) for nits in scenes] for name, make in PROGRAMS.items()}
    if options.pairs:
        pairs["cameras"] = list(cameras(options.pairs))
    print("| system | picture: PSNR / dE | as converted |", *(f"{name} |" for name in pairs))
    rows = {name: [score(network, shown) for shown in pairs.values()] for name, network in networks(options).items()}
    for name, row in sorted(rows.items(), key=lambda item: sum(values[1] for values in item[1])):
        means = torch.tensor(row).mean(0).tolist()
        cells = (f"{values[0]:.1f} / {values[1]:.1f}" for values in row)
        print("| {} | {:.2f} / {:.2f} | {:.2f} / {:.2f} |".format(name, *means), *(f"{cell} |" for cell in cells))


if __name__ == "__main__":
    main()
