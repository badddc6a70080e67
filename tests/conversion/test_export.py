"""Files for players and inference engines: read by ONNX Runtime and by FFmpeg, and what cannot be exported."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitm
from vitm.baselines.csrnet import CSRNet
from vitm.cli import main
from vitm.color import bt709_to_bt2020, bt1886_eotf, pq_inverse_eotf
from vitm.conversion.export import graph, table
from vitm.conversion.level import LevelControl
from vitm.conversion.options import Grading
from vitm.data.fake.frames import write_fake_frames
from vitm.ops.color_table import color_grid, even_positions
from vitm.ops.padding import pad_to_multiple
from vitm.ops.resize import resize_area
from vitm.ops.tiling import upsample_rows
from vitm.video import FrameReader, write_image
from vitm.zoo import load_network

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
PAGE = Path(__file__).parents[2] / "docs/guide/exporting.md"


def ffmpeg_lut3d(sdr: Tensor, cube: Path, interpolation: str) -> Tensor:
    """Look up (3, H, W) in a file by FFmpeg, in fp32.

    By its C code: with AVX2, FFmpeg 9.0.2 is up to 160 codes of 10 bits off in tetrahedra of 16 bits and of fp32.
    """
    size = f"{sdr.shape[2]}x{sdr.shape[1]}"
    raw = ["-f", "rawvideo", "-pix_fmt", "gbrpf32le"]
    order = [1, 2, 0]  # FFmpeg's planes are G, B, R
    done = subprocess.run(
        [
            FFMPEG,
            "-v",
            "error",
            "-cpuflags",
            "0",
            *raw,
            "-s",
            size,
            "-i",
            "-",
            "-vf",
            f"lut3d={cube}:interp={interpolation}",
            *raw,
            "-",
        ],
        input=sdr[order].contiguous().numpy().tobytes(),
        capture_output=True,
        check=True,
    )
    planes = torch.from_numpy(np.frombuffer(done.stdout, np.float32).reshape(sdr.shape).copy())
    return planes[torch.tensor(order).argsort()]


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["trilinear", "tetrahedral"])
def test_ffmpeg_reads_a_table_as_it_is_stated(interpolation: str, tmp_path: Path, rng: torch.Generator) -> None:
    """With the operator's level for a white of 203 cd/m2, as a conversion has it."""
    cube = tmp_path / "hable.cube"
    report = vitm.export("hable", cube)
    assert report.errors is not None
    sdr = torch.rand(3, 40, 60, generator=rng)
    looked_up = ffmpeg_lut3d(sdr, cube, interpolation)
    operator = load_network("hable")
    operator.gain = report.level.control.gain
    expected = operator(sdr)
    stated = report.errors.trilinear if interpolation == "trilinear" else report.errors.tetrahedral
    assert 0 < float((looked_up - expected).abs().max()) * 1023 <= stated < 30
    head = cube.read_text().splitlines()[:10]
    assert head[0] == 'TITLE "vitm hable, SDR to HDR10"'
    assert {"# model: hable", "LUT_3D_SIZE 33"} <= {*head}
    assert any("BT.709" in line for line in head)
    assert any("BT.2020, PQ" in line for line in head)


def test_the_recipe_for_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of the page makes an HDR10 file with the right tags, of the operator's picture."""
    monkeypatch.chdir(tmp_path)
    source = "-f lavfi -i gradients=size=96x64:rate=24:duration=0.1:seed=1"
    coding = "-c:v ffv1 -pix_fmt yuv420p -colorspace bt709 CLIP.mkv"
    subprocess.run([FFMPEG, "-v", "error", *source.split(), *coding.split()], check=True)
    Path("CLIP.mkv").rename("CLIP.mp4")  # FFmpeg looks into the file
    report = vitm.export("bt2446a", "bt2446a.cube")
    block = re.search(r"^ffmpeg -i CLIP.mp4.*?OUT.mp4$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block
    words = shlex.split(block[0].replace("\\\n", "").replace("medium", "ultrafast").replace("-crf 16", "-crf 2"))
    subprocess.run([FFMPEG, "-v", "error", *words[1:]], check=True)
    operator = load_network("bt2446a")
    operator.gain = report.level.control.gain
    with FrameReader("CLIP.mp4", expect="sdr", assume="bt709") as sdr, FrameReader("OUT.mp4", expect="hdr10") as hdr:
        assert hdr.info.mastering_display is not None
        pairs = [[torch.from_numpy(f.rgb).permute(2, 0, 1) for f in pair] for pair in zip(sdr, hdr, strict=True)]
    for before, after in pairs:
        difference = 1023 * (operator(before) - after).abs()
        assert float(difference.mean()) < 2, difference.mean()


@pytest.mark.slow
def test_errors_of_a_table_are_those_of_its_chords() -> None:
    """A chord of x^2 over an interval h is h^2 / 4 above it in the middle: a half of 1, so 1/16."""
    errors = table.table_errors(color_grid(3).square(), torch.square)
    assert errors.trilinear == pytest.approx(1023 / 16, rel=1e-3)
    assert errors.tetrahedral == pytest.approx(1023 / 16, rel=1e-3)
    linear = table.table_errors(color_grid(3), lambda rgb: rgb)
    assert max(linear.trilinear, linear.tetrahedral, linear.most) < 1e-3


def test_a_network_maps_colors_by_a_clip(tmp_path: Path) -> None:
    """The table of CSRNet has the mean of its vectors for the frames of the clip."""
    clip = write_fake_frames(tmp_path / "data", n=2, size=(32, 48)) / "train_sdr"
    torch.manual_seed(0)
    network = CSRNet(width=8, conditions=4).eval()
    report = vitm.export(network, tmp_path / "o.cube", clip=clip, grading=Grading(diffuse_white="keep"), size=9)
    assert report.errors is not None
    assert report.errors.adaptive is not None
    with FrameReader(clip, expect="sdr", fps=24) as reader:
        frames = [torch.from_numpy(f.rgb).permute(2, 0, 1)[None] for f in reader]
    with torch.inference_mode():
        mean = torch.stack([network.estimator(sdr).mean((2, 3)) for sdr in frames]).mean(0)
        expected = network.mapping(color_grid(9).reshape(1, 3, 81, 9), mean).clamp(0, 1).reshape(3, -1)
    written = np.loadtxt((tmp_path / "o.cube").read_text().splitlines()[-(9**3) :]).T
    assert written == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.slow
def test_each_scene_has_a_table_and_all_have_one_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of a scene is that of a clip of its frames alone, at the level of the whole clip.

    That is so for a network which does not look at frames of the whole clip first, as the default does.
    """
    (tmp_path / "clip").mkdir()
    (tmp_path / "second").mkdir()
    noise = np.random.default_rng(0).random((32, 48, 3)).astype(np.float32)
    for i in range(7):
        picture = 0.2 * noise if i < 3 else 0.5 + 0.5 * noise[:, ::-1]
        for folder in ("clip", "second")[: 1 + (i >= 3)]:
            write_image(tmp_path / folder / f"{i}.png", picture, bits=8)
    words = ["export", "mixed_map", str(tmp_path / "o.cube"), "--clip", str(tmp_path / "clip"), "--size", "5"]
    assert main([*words, "--scenes"]) == 0
    assert "frames: 3 to 6, from 0" in capsys.readouterr().out
    listed = (tmp_path / "o.csv").read_text().splitlines()
    assert listed == ["table,first,last,seconds", "o_001.cube,0,2,0.000000", "o_002.cube,3,6,0.125000"]
    first, second = ((tmp_path / f"o_00{i}.cube").read_text().splitlines() for i in (1, 2))
    assert [line for line in first if "# level" in line] == [line for line in second if "# level" in line]
    assert first[-(5**3) :] != second[-(5**3) :]
    whole = ["export", "mixed_map", "--clip", str(tmp_path / "second"), "--size", "5", "--diffuse-white", "keep"]
    kept = ["--scenes", "--diffuse-white", "keep", "--overwrite"]
    assert main([*words, *kept]) == main([*whole, str(tmp_path / "alone.cube")]) == 0
    alone, second = ((tmp_path / name).read_text().splitlines()[-(5**3) :] for name in ("alone.cube", "o_002.cube"))
    assert alone == second
    assert main([*words, "--scenes", "--half"]) == 2
    assert main([*words, "--scenes"]) == 2
    assert "o.csv exists already: --overwrite replaces it" in capsys.readouterr().out


class SizesEverywhere(nn.Module):
    """What networks do that depends on the size: padding, areas, rows, tables; then a level, and fp64."""

    def forward(self, sdr: Tensor) -> Tensor:
        padded = pad_to_multiple(sdr, 32)
        deep = F.interpolate(F.avg_pool2d(padded, 32), scale_factor=32.0)[..., : sdr.shape[2], : sdr.shape[3]]
        area = F.interpolate(resize_area(sdr, (9, 16)), sdr.shape[2:])
        rows = upsample_rows(resize_area(sdr, (5, 6)), (sdr.shape[2], sdr.shape[3]), torch.arange(sdr.shape[2]))
        placed = even_positions(sdr, torch.tensor([0, 0.2, 0.7, 1]).expand(1, 3, -1))
        return pq_inverse_eotf(203 * bt709_to_bt2020(bt1886_eotf((deep + area + rows + placed) / 4)))


@pytest.mark.slow
def test_a_graph_takes_any_size(tmp_path: Path) -> None:
    """ONNX Runtime computes what PyTorch does, at sizes that were not traced; the file says what goes in and out."""
    network, path = SizesEverywhere(), tmp_path / "o.onnx"
    report = vitm.export(network, path, grading=Grading(strength=0.7, peak_nits=600.0, diffuse_white="keep"))
    assert set(report.differences) == {(128, 192), (101, 135)}
    assert max(report.differences.values()) < 1e-5
    model = onnx.load(path)
    onnx.checker.check_model(model)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["frames_in"] == facts["frames_out"] == "1"
    assert "BT.709" in facts["input"]
    assert "PQ" in facts["output"]
    sizes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, "height", "width"]


class Branches(nn.Module):
    """It does something else for large frames, which a graph cannot."""

    def forward(self, sdr: Tensor) -> Tensor:
        return sdr if sdr.shape[2] > 400 else sdr / 2


class PaddedBranches(Branches):
    """The same of a size that is calculated."""

    def forward(self, sdr: Tensor) -> Tensor:
        return super().forward(pad_to_multiple(sdr, 8))[..., : sdr.shape[2], : sdr.shape[3]]


def test_branches_over_sizes_are_refused(tmp_path: Path) -> None:
    for network in (Branches(), PaddedBranches()):
        with pytest.raises(ValueError, match="Branches does something else for large frames"):
            vitm.export(network, tmp_path / "o.onnx")
    assert not [*tmp_path.iterdir()]


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sys.modules["vitm.conversion.export"]
    monkeypatch.setattr(package, "write_graph", lambda path, *_: path.write_text("graph") and {})
    monkeypatch.setattr(package, "graph_differences", lambda *_: {(3, 5): 2e-4})
    with pytest.raises(RuntimeError, match=r"Branches cannot be an ONNX graph: at 3x5 .* differ .* by 2.0e-04"):
        vitm.export(Branches(), tmp_path / "o.onnx")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hable", "o.mp4"], "cannot export to o.mp4: expected a file that ends in .onnx or .cube"),
        (["huo", "o.cube"], "huo cannot be a table of colours"),
        (["default", "o.cube"], "default makes its map of colours from frames: give the clip"),
        (["clues", "o.onnx"], "clues cannot be an ONNX graph: it looks at whole scenes"),
        (["hable", "o.cube", "--size", "1"], "--size 1: expected 2 to 129 vertices"),
        (["hable", "o.cube", "--half"], "a table has numbers in text"),
        (["default", "o.onnx", "--diffuse-white", "150"], "--diffuse-white 150.0: a network's level is measured"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    printed = capsys.readouterr().out
    assert message in printed
    assert printed.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_missing_package_is_named_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r'ONNX needs onnxscript: pip install "vitm\[export\]"'):
        vitm.export("no such model", tmp_path / "o.onnx")


def test_a_level_does_not_unroll_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitm.conversion import level

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(level, "map_rows", None)
    with torch.inference_mode():
        assert LevelControl(gain=2.0)(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)).shape == (1, 3, 2, 2)


def test_windows_become_their_middle_frame() -> None:
    class Middle(nn.Module):
        radius, context = 1, 1

        def forward(self, sdr: Tensor) -> Tensor:
            return sdr[:, 1]

        def stream(self, frames):
            yield from frames

    converter = graph.Converter(Middle(), LevelControl(strength=0.5))
    sdr = converter.example((4, 6))
    assert sdr.shape == (1, 3, 3, 4, 6)
    plain = pq_inverse_eotf(203 * bt709_to_bt2020(bt1886_eotf(sdr[:, 1])))
    torch.testing.assert_close(converter(sdr), (sdr[:, 1] + plain) / 2)
