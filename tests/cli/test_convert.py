"""`vitm convert` as a person runs it."""

from __future__ import annotations

import errno
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vitm.cli import main
from vitm.color import inverse_tone_map
from vitm.conversion.level import midtone_white
from vitm.conversion.stream import convert_clip
from vitm.papers.hdcfm import HDCFM
from vitm.papers.kpn_mfi import KPNMFI
from vitm.video import FrameReader, probe, write_image

PHOTOGRAPH = data.coffee()[::4, ::4].astype(np.float32) / 255


def run(*args: object) -> int:
    return main(["convert", *(str(arg) for arg in args)])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six frames of 97 x 65: an odd size."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(6):
        write_image(folder / f"{i}.png", PHOTOGRAPH[20:85, 20 + i : 117 + i], bits=8)
    return folder


def sdr(folder: Path) -> torch.Tensor:
    return torch.stack([torch.from_numpy(f.rgb).permute(2, 0, 1) for f in FrameReader(folder, expect="sdr")])


def codes(folder: Path) -> torch.Tensor:
    frames = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535 for p in sorted(folder.glob("*.png"))]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()


def checkpoint(path: Path, name: str, network: torch.nn.Module, **arguments: object) -> Path:
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": name, "arguments": arguments}, "state_dict": state}, path)
    return path


def test_folder_to_hdr10_with_report_and_previews(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = clip.with_name("out.mp4")
    assert run(clip, out, "--model", "bt2446a", "--diffuse-white", "keep", "--fps", 25, "--crf", 4, "--preview") == 0
    info = probe(out)
    assert (info.width, info.height, info.n_frames, info.fps) == (98, 66, 6, 25)
    assert (info.transfer, info.primaries, info.matrix, info.bit_depth) == ("pq", "bt2020", "bt2020", 10)
    expected = inverse_tone_map(sdr(clip), method="bt2446a")
    found = torch.stack([torch.from_numpy(f.rgb).permute(2, 0, 1) for f in FrameReader(out, expect="hdr10")])
    error = (found[..., :65, :97] - expected).square().mean()
    assert -10 * error.log10() > 36  # 4:2:0 of an aliased picture
    report = json.loads(out.with_name("out.mp4.json").read_text())
    assert report["level"]["gain"] == 1.0
    assert report["max_cll"] == pytest.approx(info.max_cll, abs=0.6)
    assert cv2.imread(str(clip.with_name("out_preview.png"))).shape == (65, 2 * 97, 3)
    with av.open(str(clip.with_name("out_preview.mp4"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    assert sorted(p.name for p in clip.parent.iterdir()) == [
        "clip",
        "out.mp4",
        "out.mp4.json",
        "out_preview.mp4",
        "out_preview.png",
        "out_preview.webp",
        "out_preview_untonemapped.png",
    ]
    assert "MaxCLL" in capsys.readouterr().out


def test_folder_to_folder_is_exact(clip: Path) -> None:
    out = clip.with_name("out")
    assert run(clip, out, "--model", "bt2446c", "--diffuse-white", "keep") == 0
    expected = inverse_tone_map(sdr(clip), method="bt2446c").clamp(0, 1)
    assert (codes(out) - expected).abs().max() < 0.51 / 65535


@pytest.mark.slow
def test_an_unusual_level_of_a_network_is_corrected(clip: Path) -> None:
    torch.manual_seed(0)
    network = HDCFM().eval()
    with torch.no_grad():
        network.stages[2][-1].bias.fill_(0.1)  # far too dark
    path = checkpoint(clip.with_name("w.ckpt"), "hdcfm", network)
    assert run(clip, clip.with_name("auto"), "--model", "hdcfm", "--checkpoint", path) == 0
    assert run(clip, clip.with_name("keep"), "--model", "hdcfm", "--checkpoint", path, "--diffuse-white", "keep") == 0
    with torch.no_grad():
        expected = network(sdr(clip)).clamp(0, 1)
    assert (codes(clip.with_name("keep")) - expected).abs().max() < 2e-5
    level = json.loads(clip.with_name("auto.json").read_text())["level"]
    assert level["diffuse_white"] == "auto"
    assert level["gain"] == pytest.approx(203 / level["midtone_white_of_the_model"])
    assert level["midtone_white_of_the_model"] < 100
    assert midtone_white([(codes(clip.with_name("auto")), sdr(clip))]) == pytest.approx(203, rel=0.02)


@pytest.mark.slow
def test_memory_of_a_network_ends_at_cuts(tmp_path: Path) -> None:
    arguments = {"width": 8, "trunk": (1, 1, 1, 1, 1)}
    torch.manual_seed(0)
    network = KPNMFI(**arguments).eval()
    with torch.no_grad():
        for parameter in network.mfi.parameters():
            parameter *= 6  # so that the neighbours matter
    path = checkpoint(tmp_path / "w.ckpt", "kpn_mfi", network, **arguments)
    (tmp_path / "clip").mkdir()
    other = data.astronaut()[::4, ::4].astype(np.float32) / 255
    scenes = [[image[10:58, 10 + i : 74 + i] for i in range(5)] for image in (PHOTOGRAPH, other)]
    for i, frame in enumerate(scenes[0] + scenes[1]):
        write_image(tmp_path / f"clip/{i}.png", frame, bits=8)
    frames = sdr(tmp_path / "clip")
    options = ("--model", "kpn_mfi", "--checkpoint", path, "--diffuse-white", "keep")
    assert run(tmp_path / "clip", tmp_path / "out", *options) == 0
    expected = [*convert_clip(network, frames[:5]), *convert_clip(network, frames[5:])]
    assert (codes(tmp_path / "out") - torch.stack(expected)).abs().max() < 2e-5
    at_once = torch.stack(list(convert_clip(network, frames)))
    assert (codes(tmp_path / "out")[4] - at_once[4]).abs().max() > 1e-4


def test_wrong_input_is_one_line(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = clip.with_name("there.mp4")
    there.write_bytes(b"precious")
    out = clip.with_name("out.mp4")
    for args, message in (
        ((clip, there, "--model", "hable"), "there.mp4 exists already: --overwrite replaces it"),
        ((clip, out, "--model", "hdcfm"), "needs weights"),
        ((clip, out, "--model", "hdrnets"), "unknown network 'hdrnets'"),
        ((clip, out, "--model", "hable", "--checkpoint", there), "takes no checkpoint"),
        ((clip.with_name("none.mp4"), out, "--model", "hable"), "none.mp4"),
        ((clip, clip.with_name("out.avi"), "--model", "hable"), ".avi"),
        ((clip, out, "--model", "hable", "--strength", -1), "strength"),
        ((clip, out, "--model", "hable", "--diffuse-white", "white"), "--diffuse-white white"),
        ((clip, clip.with_name("nowhere") / "out.mp4", "--model", "hable"), "nowhere"),
        ((clip, clip, "--model", "hable", "--overwrite"), "would replace"),
        ((there, out, "--model", "hable", "--fps", 25), "--fps"),
    ):
        assert run(*args) == 2, message
        printed = capsys.readouterr().out
        assert message in printed.replace("\n", " ")
        assert "Traceback" not in printed
    assert there.read_bytes() == b"precious"
    assert sorted(p.name for p in clip.parent.iterdir()) == ["clip", "there.mp4"]


def test_work_that_was_not_joined_is_no_other_job_s(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    out = clip.with_name("out.mp4")
    with monkeypatch.context() as broken:
        broken.setattr("vitm.video.write.writer.finish", full)
        assert run(clip, out, "--model", "hable") == 1
    assert not out.exists()
    assert run(clip, out, "--model", "bt2446a") == 2
    assert run(clip, out, "--model", "hable") == 0
    assert json.loads(out.with_name("out.mp4.json").read_text())["model"] == "hable"
    assert sorted(p.name for p in clip.parent.iterdir()) == ["clip", "out.mp4", "out.mp4.json"]


def test_overwrite(clip: Path) -> None:
    out = clip.with_name("out")
    assert run(clip, out, "--model", "hable") == 0
    assert run(clip, out, "--model", "bt2446a", "--diffuse-white", "keep", "--overwrite") == 0
    assert (codes(out) - inverse_tone_map(sdr(clip), method="bt2446a").clamp(0, 1)).abs().max() < 0.51 / 65535


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_runs_go_on(tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"width": 8, "trunk": (1, 1, 1, 1, 1)}
    torch.manual_seed(0)
    path = checkpoint(tmp_path / "w.ckpt", "kpn_mfi", KPNMFI(**arguments), **arguments)
    (tmp_path / "clip").mkdir()
    for i in range(40):
        write_image(tmp_path / f"clip/{i}.png", PHOTOGRAPH[10:58, 10 + i : 74 + i], bits=8)
    args = ["convert", "clip", "out.mp4", "--model", "kpn_mfi", "--checkpoint", str(path), "--lossless"]
    args += ["--segment-frames", "5"]
    command = [sys.executable, "-c", f"from vitm.cli import main; raise SystemExit(main({args!r}))"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    work = tmp_path / ".out.mp4.vitm"
    while process.poll() is None and not list(work.glob("part_00001*")):
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (-9, 130)
    assert not (tmp_path / "out.mp4").exists()

    other = [a if a != "--lossless" else "--crf=20" for a in args]
    assert main([a if a not in ("clip", "out.mp4") else str(tmp_path / a) for a in other]) == 2
    assert "interrupted conversion" in capsys.readouterr().out.replace("\n", " ")

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Going on after" in again.stdout
    assert not work.exists()
    whole = subprocess.run([*command[:2], command[2].replace("'out.mp4'", "'whole.mp4'")], cwd=tmp_path, check=False)
    assert whole.returncode == 0
    resumed, undisturbed = (
        np.stack([f.rgb for f in FrameReader(tmp_path / name, expect="hdr10")]) for name in ("out.mp4", "whole.mp4")
    )
    assert resumed.shape[0] == 40
    assert np.array_equal(resumed, undisturbed)


def test_one_frame_of_graphics_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page").mkdir()
    write_image(tmp_path / "page" / "0.png", np.ones((48, 64, 3), np.float32), bits=8)
    assert run(tmp_path / "page", tmp_path / "page.mp4", "--model", "bt2446a") == 0
    assert "frame 0 is graphics: white at 203 cd/m2 (--graphics keep leaves it to the model)" in capsys.readouterr().out


Y4M_TAGS = ("--assume", "bt709", "--model", "clip", "--diffuse-white", "keep")


def through_pipes(data: bytes, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    return main(["convert", "-", "-", *options])


def test_y4m_through_pipes(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Grey of luma 126 in 8 bits: half of white in code, and in PQ what BT.1886 and ST 2084 make of it."""
    frame = b"FRAME\n" + bytes([126]) * (64 * 48) + bytes([128]) * (2 * 32 * 24)
    data = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n" + 3 * frame
    assert through_pipes(data, monkeypatch, *Y4M_TAGS, "--codec", "y4m") == 0
    captured = capsysbinary.readouterr()
    header, *frames = captured.out.split(b"FRAME\n")
    assert header.split()[:4] == [b"YUV4MPEG2", b"W64", b"H48", b"F25:1"]
    assert b"C444p10" in header.split()
    nits = 203 * ((126 - 16) / 219) ** 2.4
    y = (nits / 10_000) ** 0.1593017578125
    code = 64 + 876 * ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    for raw in frames:
        luma, cb, cr = np.frombuffer(raw, "<u2").reshape(3, 48, 64)
        assert (luma == round(code)).all()
        assert (cb == 512).all()
        assert (cr == 512).all()
    assert len(frames) == 3
    assert b"-: 3 frames, MaxCLL" in captured.err


def test_matroska_through_pipes(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(clip, clip.with_name("a.mkv"), "--model", "clip", "--lossless") == 0
    capsysbinary.readouterr()
    data = clip.with_name("a.mkv").read_bytes()
    assert through_pipes(data, monkeypatch, "--override", "bt709", "--model", "clip") == 0
    out = capsysbinary.readouterr().out
    with av.open(io.BytesIO(out)) as container:
        assert container.format.name == "matroska,webm"
        assert sum(1 for _ in container.decode(video=0)) == 6
    assert sorted(p.name for p in clip.parent.iterdir()) == ["a.mkv", "a.mkv.json", "clip"]


def test_errors_of_pipes_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert through_pipes(b"", monkeypatch) == 2
    assert through_pipes(b"YUV4MPEG2 nonsense", monkeypatch) == 2
    captured = capsysbinary.readouterr()
    assert captured.out == b""
    assert b"standard input (-) is empty" in captured.err
    assert b"stdin.y4m" in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("out", "--crf", "10", "--lossless"), "a folder of frames takes no --crf 10.0, no --lossless"),
        (("out.y4m", "--preset", "fast"), "raw video takes no --preset fast"),
        (("out.mp4", "--codec", "exr"), "--codec exr makes a folder of frames"),
        (
            ("out.mp4", "--codec", "vp9"),
            "--codec vp9: expected one of hevc, hlg, prores, av1, png, tiff, exr, avif",
        ),
        (("out.mp4", "--fps", "0.5", "--crf", "99"), "--crf 99.0: expected 0 (best) to 51"),
    ],
)
def test_errors_speak_of_options(
    options: tuple[str, ...], message: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, clip.with_name(options[0]), "--model", "clip", *options[1:]) == 2
    assert message in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in clip.parent.iterdir()] == ["clip"]
