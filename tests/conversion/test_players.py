"""The recipes for players, run where these are installed: VapourSynth in the right colour, and mpv's options."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imageio_ffmpeg import get_ffmpeg_exe

import vitm
from vitm.color import rgb_to_ycbcr
from vitm.conversion import Grading, Reading, convert
from vitm.conversion.export import graph
from vitm.video import read_image

PAGE = (Path(__file__).parents[2] / "docs/guide/exporting.md").read_text()
SIZE = 96, 160


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two smooth frames, so that it does not matter how chroma is interpolated; the current folder is theirs."""
    monkeypatch.chdir(tmp_path)
    y, x = (axis / size for axis, size in zip(np.mgrid[0 : SIZE[0], 0 : SIZE[1]], SIZE, strict=True))
    planes = 30 + 190 * y, (108 + 40 * x)[::2, ::2], (148 - 40 * y)[::2, ::2]
    raw = b"".join(plane.astype(np.uint8).tobytes() for plane in planes) * 2
    tags = ["-colorspace", "bt709", "-color_range", "tv"]
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE[1]}x{SIZE[0]}", "-i", "-"]
    command = [get_ffmpeg_exe(), "-v", "error", *source, "-c:v", "libx264", "-qp", "0", *tags, "CLIP.mp4"]
    subprocess.run(command, input=raw, check=True)
    return Path("CLIP.mp4")


@pytest.mark.parametrize("filter_", ["ort", "timecube"])
def test_vapoursynth_gives_what_the_converter_gives(filter_: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two codes of luma, of which the table takes one; a wrong range, matrix or transfer function is far off."""
    vspipe = shutil.which("vspipe")
    if vspipe is None:
        pytest.skip("VapourSynth (vspipe) is not installed: pip install vapoursynth, with Python 3.12 or later")
    monkeypatch.setattr(graph, "CHECKED", graph.CHECKED[:1])
    (script,) = re.findall(r"```python\n(import vapoursynth.*?)```", PAGE, re.DOTALL)
    ort, cube = re.findall(r"core\.(?:ort|timecube)\.\w+\(clip, .*?\)", script)
    script = script.replace(ort, {"ort": ort, "timecube": cube}[filter_])
    vitm.export("bt2446a", {"ort": "bt2446a.onnx", "timecube": "bt2446a.cube"}[filter_])
    Path("hdr.vpy").write_text(script)
    subprocess.run([vspipe, "-c", "y4m", "hdr.vpy", "out.y4m"], check=True, capture_output=True)
    options: dict[str, Any] = {"reading": Reading(assume="bt709"), "grading": Grading(graphics="keep")}
    convert(clip, "frames", "bt2446a", **options, progress=False)
    header, _, data = Path("out.y4m").read_bytes().partition(b"FRAME\n")
    assert b"C420p10" in header
    luma = np.frombuffer(data, np.uint16, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.int64)
    rgb = torch.from_numpy(read_image(min(Path("frames").iterdir())).astype(np.float32) / 65535).permute(2, 0, 1)
    expected = 64 + 876 * rgb_to_ycbcr(rgb, "bt2020")[0].numpy()
    assert np.abs(luma - expected).max() < 2


def test_mpv_knows_the_options(clip: Path) -> None:
    if shutil.which("mpv") is None:
        pytest.skip("mpv is not installed")
    vitm.export("bt2446a", "bt2446a.cube")
    (line,) = re.findall(r"^mpv --.*$", PAGE, re.MULTILINE)
    done = subprocess.run([*shlex.split(line), "--vo=null", "--no-config"], capture_output=True, text=True, check=False)
    assert (done.returncode, "rror" in done.stdout) == (0, False), done.stdout
