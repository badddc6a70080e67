"""`vitm.evaluation.evaluate` as a person calls it from Python."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vitm.evaluation import ClipSummary, MismatchError, Summary, evaluate
from vitm.metrics import TABLES, frame_metrics
from vitm.video import open_writer, read_image, write_png16

MakeClip = Callable[..., Path]


@pytest.fixture
def clip(tmp_path: Path) -> MakeClip:
    """Make a folder of frames of a moving pattern, with noise of its own strength."""

    def make(name: str, noise: float = 0.0, count: int = 4) -> Path:
        rng = np.random.default_rng(0)
        base = 0.5 + 0.3 * np.sin(np.arange(40) * np.pi / 20)[None, :, None] + 0.02 * rng.random((24, 40, 3))
        (tmp_path / name).mkdir(parents=True)
        for i in range(count):
            frame = np.roll(base, i, axis=1) + noise * rng.standard_normal(base.shape)
            write_png16(tmp_path / name / f"{i}.png", frame.astype(np.float32))
        return tmp_path / name

    return make


def read(folder: Path) -> torch.Tensor:
    frames = [torch.from_numpy(read_image(path) / np.float32(65535)) for path in sorted(folder.iterdir())]
    return torch.stack(frames).permute(0, 3, 1, 2)[None]


def test_one_pair(clip: MakeClip, tmp_path: Path) -> None:
    pred, target = clip("pred", 0.02), clip("target")
    before = sorted(tmp_path.rglob("*"))
    summary = evaluate((pred, str(target)), ["psnr", "mabd"], fps=25, progress=False)
    assert sorted(tmp_path.rglob("*")) == before  # without an output folder, nothing is written
    metrics = frame_metrics(("psnr", "mabd"))
    metrics.update(read(pred), read(target))
    expected = {name: pytest.approx(float(value), rel=1e-9) for name, value in metrics.compute().items()}
    assert isinstance(summary, Summary)
    assert summary.overall == expected
    (one,) = summary.clips
    assert isinstance(one, ClipSummary)
    assert (one.name, one.frames, one.fps, one.cuts) == ("pred", 4, Fraction(25), ())
    assert one.values == expected
    assert one.frame_values.keys() == {"psnr", "mabd_pred", "mabd_gt", "mse_mabd"}
    assert np.mean(one.frame_values["psnr"]) == expected["psnr"]
    assert math.isnan(one.frame_values["mabd_pred"][0])
    assert [value.heading for value in summary.metrics["psnr"].values] == ["PSNR dB"]
    assert str(summary.metrics["mabd"].protocol) == "PQ BT.2020, 16-bit, full frame, mean of clips"
    assert json.loads(json.dumps(summary.to_dict(), default=str))["overall"] == expected


def test_all_forms_of_pairs(clip: MakeClip, tmp_path: Path) -> None:
    pairs = [(clip("p/a", 0.01), clip("t/a")), (clip("p/b", 0.1, 2), clip("t/b", 0.0, 2))]
    (tmp_path / "list.csv").write_text("pred,target\np/a,t/a\np/b,t/b\n")
    for form in (
        pairs,
        tuple(pairs),
        {"a": pairs[0], "b": pairs[1]},
        tmp_path / "list.csv",
        str(tmp_path / "list.csv"),
    ):
        summary = evaluate(form, ["psnr", "mabd"], progress=False)
        a, b = (one.values for one in summary.clips)
        assert [one.name for one in summary.clips] == ["a", "b"]
        assert summary.overall["psnr"] == pytest.approx((4 * a["psnr"] + 2 * b["psnr"]) / 6)  # mean of frames
        assert summary.overall["mse_mabd"] == pytest.approx((a["mse_mabd"] + b["mse_mabd"]) / 2)  # mean of clips
    assert [one.name for one in evaluate({"x": pairs[0], "y": pairs[0]}, ["psnr"], progress=False).clips] == ["x", "y"]
    for form, message in (
        ([pairs[0], pairs[0]], "a is there twice; give a dictionary"),
        ([], "no pair"),
        (str(pairs[0][0]), "compared with"),
        ([(*pairs[0], pairs[0][0])], "expected a pair of paths"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(form, ["psnr"], progress=False)  # type: ignore[arg-type]


def test_single_pictures(clip: MakeClip, tmp_path: Path) -> None:
    """PNG against PNG by arithmetic; against AVIF of the same codes, ten bits and its losses."""
    noisy, clean = clip("pred", 0.02, 1) / "0.png", clip("target", count=1) / "0.png"
    (error,) = evaluate((noisy, clean), ["psnr"], progress=False).overall.values()
    squares = (read_image(noisy) / 65535 - read_image(clean) / 65535) ** 2
    assert error == pytest.approx(-10 * math.log10(squares.mean()), abs=1e-3)
    pytest.importorskip("imagecodecs")
    with open_writer(tmp_path / "a.avif", 40, 24, 24, "avif") as writer:
        writer.write(read_image(clean) / np.float32(65535))
    (near,) = evaluate((tmp_path / "a.avif", clean), ["psnr"], mixed_depths=True, progress=False).overall.values()
    assert near > 40  # of noise


def test_a_papers_metrics(clip: MakeClip) -> None:
    summary = evaluate((clip("pred", 0.02), clip("target")), paper="dslnet", progress=False)
    assert tuple(summary.metrics) == TABLES["dslnet"]


def test_output_and_progress(clip: MakeClip, tmp_path: Path) -> None:
    pred, target, out = clip("pred", 0.02), clip("target"), tmp_path / "some" / "out"
    calls: list[tuple[int, int]] = []
    summary = evaluate((pred, target), ["psnr"], output=out, progress=lambda *args: calls.append(args))
    assert calls == [(4, 4)]
    assert list(summary.files) == [out / name for name in ("frames.csv", "summary.json", "over_time.png")]
    assert summary.notes == ()
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in summary.files)
    assert json.loads((out / "summary.json").read_text())["clips"][0]["values"]["psnr"] == summary.overall["psnr"]


def test_goes_on_after_an_interruption(clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitm.evaluation import measuring

    monkeypatch.setattr(measuring, "_PIXELS_AT_ONCE", 1)
    pred, target, out = clip("pred", 0.02), clip("target"), tmp_path / "out"
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="after 3 frames; the same command goes on"):
        evaluate((pred, target), ["psnr", "mabd"], output=out, progress=stop)
    assert [path.name for path in out.iterdir()] == [".partial.pt"]
    undisturbed = evaluate((pred, target), ["psnr", "mabd"], progress=False)
    resumed = evaluate((pred, target), ["psnr", "mabd"], output=out, progress=lambda done, _: seen.append(done))
    assert seen == [1, 2, 3, 4]
    assert resumed.clips[0].values == undisturbed.clips[0].values
    with pytest.raises(KeyboardInterrupt, match=r"^after 3 frames$"):  # nothing is kept without a folder
        evaluate((pred, target), ["psnr"], progress=stop)


def test_numbers_are_written_without_matplotlib(
    clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    summary = evaluate((clip("pred"), clip("target")), ["psnr"], output=tmp_path / "out", progress=False)
    assert [path.name for path in summary.files] == ["frames.csv", "summary.json"]
    assert summary.notes == ("over_time.png is left out: plots need matplotlib: run `pip install 'vitm[plots]'`",)
    assert not (tmp_path / "out/over_time.png").exists()


def test_rounds_or_not_as_each_metric_says(clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evaluate_pkg.py").write_text(
        "from vitm.metrics import FrameMetric, MetricValue\n"
        "class Largest(FrameMetric):\n"
        "    values = (MetricValue('largest', 'largest code'),)\n"
        "    def frame_values(self, pred, target):\n"
        "        return pred.amax(dim=(-3, -2, -1))\n"
        "class Clipped(Largest):\n"
        "    values = (MetricValue('clipped', 'largest code in a file'),)\n"
        "def largest():\n"
        "    return Largest(round_16bit=False)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from vitm.evaluation.pairs import Pair

    frames = Pair.frames
    monkeypatch.setattr(Pair, "frames", lambda self, first: ((2 * p, t) for p, t in frames(self, first)))
    pair = clip("pred"), clip("target")
    summary = evaluate(pair, ["evaluate_pkg.largest", "evaluate_pkg.Clipped", "mabd"], progress=False)
    assert summary.overall["largest"] > 1.5
    assert summary.overall["clipped"] == 1.0
    assert summary.metrics["evaluate_pkg.largest"].protocol.rounding == "unrounded"


def test_wrong_input(clip: MakeClip, tmp_path: Path) -> None:
    pair = clip("pred"), clip("target")
    for options, message in (
        ({"metrics": ["psrn"]}, "did you mean psnr"),
        ({"metrics": ["over_exposed"]}, "over_exposed needs a mask, which files do not hold"),
        ({"metrics": ["psnr"], "paper": "dslnet"}, "not both"),
        ({"paper": "itm"}, "unknown paper='itm'"),
        ({"metrics": ["psnr"], "unit_nits": 100.0}, "unit_nits=100 is for linear frames"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(pair, output=tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give a list of names"):
        evaluate(pair, "psnr", progress=False)
    with pytest.raises(MismatchError, match="4 against 3"):
        evaluate((pair[0], clip("short", 0.0, 3)), ["psnr"], output=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_help_loads_no_torch() -> None:
    code = (
        "import atexit, os, sys; from vitm.cli import main; "
        "atexit.register(lambda: (sys.stdout.flush(), os._exit('torch' in sys.modules))); main(['evaluate', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "color_video_vdp" in done.stdout
