"""`vitm prepare` as a person runs it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from vitm.cli import main
from vitm.data.fake.frames import write_fake_video_pair
from vitm.data.paired.layouts import find_windows


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def film(folder: Path, name: str, **kwargs: Any) -> str:
    """Writes NAME.mp4 and NAME_hdr.mp4; returns their row of the pairs file."""
    (folder / "raw").mkdir(exist_ok=True)
    sdr, hdr = write_fake_video_pair(folder / "raw", **{"scenes": (14, 14), "size": (64, 96), **kwargs})
    sdr.rename(folder / f"{name}.mp4")
    hdr.rename(folder / f"{name}_hdr.mp4")
    return f"{name}.mp4,{name}_hdr.mp4"


def table(folder: Path, *rows: str, columns: str = "sdr,hdr") -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join((columns, *rows)) + "\n")
    return path


def files(root: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file, hidden ones too."""
    found = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def manifest(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "manifest.json").read_text()))


@pytest.mark.parametrize(("kind", "frames"), [("triplets", 3), ("clips", 10), ("frames", 1)])
def test_layouts_and_manifest(tmp_path: Path, kind: str, frames: int, capsys: pytest.CaptureFixture[str]) -> None:
    rows = film(tmp_path, "a") + ",train", film(tmp_path, "b", seed=5, hdr_frames=range(4, 28)) + ",test"
    pairs, out = table(tmp_path, *rows, columns="sdr,hdr,split"), tmp_path / "out"
    interval = ["--interval", 0.5] if kind != "clips" else []
    how = ["--tile-size", 32, "--tile-stride", 16, *interval]
    assert run("prepare", kind, pairs, out, *how) == 0
    windows = {split: find_windows(out, split, frames) for split in ("train", "test")}  # type: ignore[arg-type]
    assert {(w.height, w.width) for w in windows["train"]} == {(32, 32)}
    assert {(w.height, w.width) for w in windows["test"]} == {(64, 96)}

    made = manifest(out)
    images = {name: digest for name, digest in files(out).items() if name.endswith(".png")}
    assert made["files"] == images
    assert {*files(out)} == {*images, "manifest.json"}
    assert made["sources"]["a"]["offset_frames"] == 0
    assert made["sources"]["b"]["offset_frames"] == 4
    assert made["sources"]["b"]["sdr"]["sha256"] == hashlib.sha256((tmp_path / "b.mp4").read_bytes()).hexdigest()
    assert made["sources"]["a"]["sdr_file"] == "a.mp4"
    assert made["command"].startswith(f"vitm prepare {kind} {pairs} {out} --tile-size=32 --tile-stride=16")
    assert "SDR frame t + offset_frames shows what HDR frame t shows" in made["offset_convention"]
    assert f"{made['splits']['test']['samples']} test" in said(capsys)

    before = (out / "manifest.json").stat().st_mtime_ns
    assert run("prepare", kind, pairs, out, *how) == 0  # nothing is left to do
    assert (out / "manifest.json").stat().st_mtime_ns == before
    # the names of earlier versions, in options and in manifests
    old = (out / "manifest.json").read_text()
    for new_name, old_name in (("tile_size", "grid_crop"), ("tile_stride", "grid_stride"), ("tiles", "crops")):
        assert f'"{new_name}":' in old
        old = old.replace(f'"{new_name}":', f'"{old_name}":')
    (out / "manifest.json").write_text(old)
    capsys.readouterr()
    assert run("prepare", kind, pairs, out, "--crop", 32, "--stride", 16, *interval) == 0
    assert (out / "manifest.json").read_text() == old
    assert "x 15 tiles" in said(capsys)


@pytest.mark.slow
def test_failing_pairs_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [film(tmp_path, "good"), film(tmp_path, "other", seed=50), film(tmp_path, "fast", fps=24)]
    data = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    shutil.copy(tmp_path / "good.mp4", tmp_path / "one.mp4")
    hlg = Path(tmp_path / "hlg.mkv")
    with av.open(str(hlg), "w") as container:
        stream = container.add_stream("ffv1", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(np.full((96, 96), 500, np.uint16), format="yuv420p10le")
        for tagged in (stream.codec_context, frame):
            tagged.color_primaries, tagged.color_trc, tagged.colorspace, tagged.color_range = 9, 18, 9, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    wrong = {
        "good.mp4,other_hdr.mp4": "do not show the same frames",
        "one.mp4,good.mp4": "tagged bt709 with bt709 primaries, but hdr10",
        "one.mp4,hlg.mkv": "tagged HLG with bt2020 primaries, but hdr10",
        "one.mp4,fast_hdr.mp4": "differ in frame rate: SDR 12, HDR 24 frames/s; resample",
        "text.mp4,good_hdr.mp4": "not a video",
        "cut.mp4,good_hdr.mp4": "not a video, or its beginning is damaged|cut short",
        "none.mp4,good_hdr.mp4": "no such file",
    }
    out = tmp_path / "out"
    assert run("prepare", "frames", table(tmp_path, rows[0], *wrong), out, "--interval", 1, "--test-share", 0) == 0
    reasons = manifest(out)["rejected_sources"]
    printed = said(capsys)
    assert len(reasons) == len(wrong)
    for reason, expected in zip(reasons.values(), wrong.values(), strict=True):
        assert any(part in reason for part in expected.split("|")), reason
        assert "\n" not in reason
        assert " ".join(reason.split()) in printed
    assert f"{len(wrong)} of {len(wrong) + 1} sources rejected" in printed
    # a rejected pair is tried again when its files have changed
    shutil.copy(tmp_path / "good.mp4", tmp_path / "none.mp4")
    before = manifest(out)["files"]
    run("prepare", "frames", tmp_path / "pairs.csv", out, "--interval", 1, "--test-share", 0)
    assert "none" not in manifest(out)["rejected_sources"]
    assert (
        before.items()
        < manifest(out)["files"].items()
        == {k: v for k, v in files(out).items() if k != "manifest.json"}.items()
    )


def test_nothing_prepared_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = table(tmp_path, "none.mp4,none_hdr.mp4")
    assert run("prepare", "clips", pairs, tmp_path / "out") == 2
    assert "nothing could be prepared; 1 of 1 sources rejected" in said(capsys)
    assert "no such file" in manifest(tmp_path / "out")["rejected_sources"]["none"]


def test_wrong_inputs_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = film(tmp_path, "a")
    pairs, out = table(tmp_path, row), tmp_path / "out"

    def fails(message: str, *args: object) -> None:
        capsys.readouterr()
        assert run("prepare", *args) == 2
        lines = capsys.readouterr().out.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert message in lines[0]

    fails("there is no list at", "clips", tmp_path / "none.csv", out)
    (tmp_path / "bad.csv").write_text("video,hdr\na,b\n")
    fails("lacks the column sdr; expected sdr, hdr, and perhaps split and offset", "clips", tmp_path / "bad.csv", out)
    fails("is no CSV file", "clips", tmp_path / "a.mp4", out)
    (tmp_path / "bad.csv").write_text("sdr,hdr\n")
    fails("is an empty list", "clips", tmp_path / "bad.csv", out)
    fails("there is no folder", "clips", pairs, tmp_path / "no/out")
    fails("is a file; give the name of a folder", "clips", pairs, pairs)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    fails("holds other files; give a new or empty folder", "clips", pairs, tmp_path / "full")
    assert (tmp_path / "full/letter.txt").read_text() == "dear"
    assert not out.exists()
    assert run("prepare", "frames", pairs, out, "--interval", 1) == 0
    fails("was made by vitm prepare frames, not vitm prepare clips", "clips", pairs, out)
    fails("was made with other options (interval_s was 1.0, is 2.0)", "frames", pairs, out)
    next(out.glob("*/hdr/*.png")).unlink()
    fails("and perhaps others are missing", "frames", pairs, out, "--interval", 1)
    with (tmp_path / "a.mp4").open("ab") as file:
        file.write(b"\0" * 100)
    fails("the source a has changed since", "frames", pairs, out, "--interval", 1)
    for args in (
        ["--tile-size", "-1"],
        ["--crop", "-1"],
        ["--test-share", "1"],
        ["--workers", "0"],
        ["--tile-stride", "x"],
        ["--stride", "x"],
    ):
        with pytest.raises(SystemExit) as stopped:
            run("prepare", "clips", pairs, out, *args)
        assert stopped.value.code == 2


@pytest.mark.slow
def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    pairs = table(tmp_path, *(film(tmp_path, f"v{i}", seed=i) for i in range(3)))
    made = []
    for workers in (1, 2):
        assert run("prepare", "clips", pairs, tmp_path / f"out{workers}", "--workers", workers) == 0
        made.append(files(tmp_path / f"out{workers}"))
        made[-1].pop("manifest.json")
    assert made[0] == made[1]
    assert made[0]


def test_resampling_is_on_request(tmp_path: Path) -> None:
    slow = film(tmp_path, "slow", scenes=(30,), sdr_frames=range(0, 30, 2)).split(",")[0]
    fast = film(tmp_path, "fast", scenes=(30,), fps=24).split(",")[1]
    pairs = table(tmp_path, f"{slow},{fast},test", columns="sdr,hdr,split")
    assert run("prepare", "frames", pairs, tmp_path / "refused", "--interval", 0.25) == 2
    assert run("prepare", "frames", pairs, tmp_path / "out", "--interval", 0.25, "--resample") == 0
    source = manifest(tmp_path / "out")["sources"]["slow"]
    assert source["offset_frames"] == 0
    assert source["samples"] == [0, 6, 12, 18, 24]  # of the HDR video: 24 frames a second
    for frame in source["samples"]:
        sdr, hdr = (
            cv2.imread(str(tmp_path / f"out/test/{kind}/slow_{frame:06d}.png"), -1).mean(axis=-1).ravel()
            for kind in ("sdr", "hdr")
        )
        assert np.corrcoef(sdr, hdr)[0, 1] > 0.95


@pytest.mark.slow
def test_killed_runs_go_on(tmp_path: Path) -> None:
    pairs = table(tmp_path, *(film(tmp_path, f"v{i}", scenes=(12,) * 8, size=(240, 320), seed=i) for i in range(2)))
    how = ["triplets", str(pairs), "--crop", "96", "--interval", "0.5", "--workers", "2"]
    assert run("prepare", *how[:2], tmp_path / "whole", *how[2:]) == 0
    out = tmp_path / "out"
    command = [sys.executable, "-c", "import sys; from vitm.cli import main; sys.exit(main())", "prepare"]
    command += [*how[:2], str(out), *how[2:]]
    kills = 0
    for wanted in (1, 400):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
            while process.poll() is None and len([*out.glob("t*/hdr/*.png")]) < wanted:
                time.sleep(0.005)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        for image in out.glob("t*/*/*.png"):  # whatever is there is whole
            expected = tmp_path / "whole" / image.relative_to(out)
            assert image.read_bytes() == expected.read_bytes()
    assert kills
    assert run("prepare", *how[:2], out, *how[2:]) == 0
    made, whole = files(out), files(tmp_path / "whole")
    a, b = manifest(out), manifest(tmp_path / "whole")
    a.pop("command"), b.pop("command")
    assert a == b
    made.pop("manifest.json"), whole.pop("manifest.json")
    assert made == whole


def panorama(path: Path) -> Path:
    """A gradient with a lamp, 64x128, linear light."""
    y, x = np.mgrid[0:64, 0:128]
    rgb = np.stack([0.2 + 0.1 * np.sin(x / 5), 0.3 + 0.002 * y, 0.25 + 0.1 * np.cos(x / 9)], -1).astype(np.float32)
    rgb[20:24, 60:66] = 80
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, {"RGB": rgb}).write(str(path))
    return path


def test_panoramas_give_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worlds = [panorama(tmp_path / f"{name}.exr") for name in "ab"]
    square = tmp_path / "square.exr"
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": np.ones((8, 8, 3), np.float32)}).write(str(square))
    text = tmp_path / "text.exr"
    text.write_text("no picture")
    out, how = tmp_path / "out", ["--clips", 2, "--size", "96x64", "--seed", 3]
    assert run("prepare", "panorama", *worlds, square, text, out, *how) == 0
    printed = said(capsys)
    assert "expected an equirectangular panorama" in printed
    assert "text.exr cannot be read" in printed
    found = [w for split in ("train", "test") for w in find_windows(out, split, 10)]  # type: ignore[arg-type]
    assert len(found) == 4
    assert {(w.height, w.width) for w in found} == {(64, 96)}
    made = manifest(out)
    assert made["files"] == {k: v for k, v in files(out).items() if k != "manifest.json"}
    for window in found:
        sdr, hdr = (cv2.imread(str(path), -1)[..., ::-1].astype(float) for path in (window.sdr[0], window.hdr[0]))
        assert np.corrcoef(sdr.mean(-1).ravel(), hdr.mean(-1).ravel())[0, 1] > 0.6
        first, last = (cv2.imread(str(window.hdr[t]), -1).astype(float) for t in (0, 9))
        assert np.abs(first - last).mean() > 10  # the camera turns
    assert run("prepare", "panorama", *worlds, square, text, tmp_path / "again", *how, "--workers", 2) == 0
    assert manifest(tmp_path / "again")["files"] == made["files"]


@pytest.mark.slow
def test_real_pairs(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/pairs"
    known = json.loads((folder / "manifest.json").read_text())
    pairs = table(tmp_path, *(f"{folder}/{name}_sdr.mp4,{folder}/{name}_hdr10.mp4" for name in known))
    out = tmp_path / "out"
    assert run("prepare", "clips", pairs, out) == 0
    sources = manifest(out)["sources"]
    for name, truth in known.items():
        source = sources[f"{name}_sdr"]
        dropped = truth["hdr_dropped_leading_frames"]
        assert source["offset_frames"] == truth["sdr_leading_frames"] + dropped
        bars = truth["black_bars_px"]
        assert source["picture"] == {"x": 0, "y": bars, "width": 640, "height": 360 - 2 * bars}
        starts = [max(start - dropped, 0) for start in truth["scene_starts"]]  # of the HDR video
        assert len(source["samples"]) == len(starts)
        for start, end, frame in zip(starts, [*starts[1:], truth["frames"] - dropped], source["samples"], strict=True):
            assert start <= frame <= end - 10
    for path in out.glob("*/*/b_*/*.png"):
        image = cv2.imread(str(path), -1)
        top = 255 if image.dtype == np.uint8 else 65535
        assert min(image[0].max(), image[-1].max()) > 0.04 * top


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ((), ("triplets",), ("clips",), ("frames",), ("panorama",)):
        with pytest.raises(SystemExit) as stopped:
            run("prepare", *kind, "--help")
        assert stopped.value.code == 0
    printed = said(capsys)
    assert "SDR frame t + offset shows what HDR frame t shows" in printed
    assert "Exit status" in printed
