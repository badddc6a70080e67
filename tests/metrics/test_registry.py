"""Names of metrics: every value is described, variants, import paths, and what a name costs to know."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from vitm.metrics import (
    METRICS,
    TABLES,
    MetricValue,
    build_metric,
    frame_metrics,
    functional,
    value_info,
    value_order,
    value_protocols,
)
from vitm.metrics.base import VideoMetric

BUILT = {name: build_metric(name) for name in METRICS if name != "color_video_vdp"}  # which needs a package


def names() -> set[str]:
    return {"color_video_vdp", *value_protocols(BUILT)}


def test_all_values_are_described() -> None:
    described = [value_info(name) for name in sorted(names())]
    assert not [value for value in described if value == MetricValue(value.name, value.name)]
    assert len({value.heading for value in described}) == len(described)
    assert all(value_info(value.name) == value for metric in BUILT.values() for value in metric.values)


def test_direction_is_the_metrics() -> None:
    for name, metric in BUILT.items():
        if name in names():
            assert value_info(name).direction == ("higher" if metric.higher_is_better else "lower"), name
    assert {value_info(name).direction for name in ("mabd_pred", "mabd_gt", "warping_error_gt", "ehl_pred")} == {"none"}


def test_unknown_values_are_shown_last() -> None:
    assert value_info("mine") == MetricValue("mine", "mine", "", "none")
    assert value_order(["b", "mabd_gt", "a", "ssim", "psnr"]) == ["psnr", "ssim", "mabd_gt", "a", "b"]
    assert set(value_order(names())) == names()


def test_a_metric_is_a_file_named_like_its_function() -> None:
    for line in METRICS.values():
        module = import_module(line.path.rpartition(".")[0])
        function = module.__name__.rpartition(".")[2]
        file = import_module(f"vitm.metrics.functional.{function}")
        public = [n for n in functional.__all__ if inspect.getmodule(getattr(functional, n)) is file]
        assert function in public or function == "hdr_volume", line.path  # whose functions are fhlp and ehl
        tests = [f"test_{function}.py", f"test_{function.partition('_')[0]}.py"]  # PU21's functions have one file
        assert any((Path(__file__).parent / test).is_file() for test in tests), function


def test_names_load_no_torch() -> None:
    code = "from vitm.metrics import METRICS, TABLES, MetricValue; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(name in METRICS for table in TABLES.values() for name in table)


def test_variants_are_named_like_their_line() -> None:
    assert list(value_protocols({"x": build_metric("ssim_kpn")})) == ["ssim_kpn"]
    assert build_metric("hdr_vdp3_kpn").values == (MetricValue("hdr_vdp3_kpn", "VDP3 Q (KPN)", "", "higher"),)
    assert "runs of 30 frames" in str(build_metric("hdr_vqm", fps=50.0).protocol)
    assert build_metric("psnr", fps=50.0).names == ("psnr",)


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="lpips"):
        frame_metrics(("psnr", "lpips"))
    with pytest.raises(ValueError, match=r"unknown metric 'psrn': did you mean psnr\?"):
        build_metric("psrn")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own, on the path."""
    (tmp_path / "registry_pkg").mkdir()
    (tmp_path / "registry_pkg/__init__.py").write_text(
        "from vitm.metrics import FrameMetric, MetricValue, build_metric\n"
        "class Worst(FrameMetric):\n"
        "    values = (MetricValue('worst', 'worst pixel', '', 'lower'),)\n"
        "    def frame_values(self, pred, target):\n"
        "        return (pred - target).abs().amax(dim=(-3, -2, -1))\n"
        "class Again(Worst):\n"
        "    values = (MetricValue('psnr', 'PSNR?'),)\n"
        "class Nameless(FrameMetric):\n"
        "    frame_values = Worst.frame_values\n"
        "def unrounded():\n"
        "    return Worst(round_16bit=False)\n"
        "number = 3\n"
    )
    (tmp_path / "registry_pkg/broken.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_import_paths(package: Path) -> None:
    metrics = frame_metrics(("psnr", "registry_pkg.Worst"))
    pred = torch.full((1, 3, 16, 16), 0.5)
    metrics.update(pred, pred + 0.1)
    assert metrics.compute()["worst"].item() == pytest.approx(0.1, abs=1e-5)
    assert value_info("worst") == MetricValue("worst", "worst pixel", "", "lower")
    assert build_metric("registry_pkg.Worst").higher_is_better is False
    assert build_metric("registry_pkg.unrounded").protocol.rounding == "unrounded"


def test_errors_of_import_paths(package: Path) -> None:
    for path, error, message in (
        ("registry_pkg.Best", ValueError, "the module registry_pkg has no Best"),
        ("registry_pkg.sub.Best", ValueError, "there is no module registry_pkg.sub; install"),
        ("no_such_package.metrics.Mine", ValueError, "there is no module no_such_package; install"),
        ("registry_pkg.broken.Mine", ModuleNotFoundError, "nowhere_to_be_found"),
        ("registry_pkg.number", TypeError, "registry_pkg.number gives int, which is no metric"),
        ("registry_pkg.Nameless", TypeError, "Nameless must set `values`"),
    ):
        with pytest.raises(error, match=message):
            build_metric(path)
    with pytest.raises(ValueError, match="two metrics give a value named 'psnr'"):
        frame_metrics(("psnr", "registry_pkg.Again"))
    assert isinstance(build_metric("registry_pkg.Again"), VideoMetric)
