"""Yardsticks are measured once for a test set, and are what they would be if measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from vitm.baselines.task import CSRNetTask
from vitm.color import DIFFUSE_WHITE_NITS, METHODS, inverse_tone_map
from vitm.metrics import FrameMetric, MetricValue, frame_metrics
from vitm.nets.analytic import Analytic, Gain
from vitm.training import kept_sums
from vitm.training.callbacks import AnalyticBaselines


@pytest.fixture
def frames() -> list[dict[str, Any]]:
    rng = torch.Generator().manual_seed(0)
    sdr = torch.rand(3, 3, 16, 16, generator=rng)
    noise = 0.02 * torch.randn(sdr.shape, generator=rng)
    hdr_pq = (Gain(1.4 * DIFFUSE_WHITE_NITS)(sdr) + noise).clamp(0, 1)
    hdr_pq[1] = inverse_tone_map(sdr[1], method="hable")  # a frame that one operator has exactly
    return [{"sdr": x, "hdr_pq": y, "name": str(i)} for i, (x, y) in enumerate(zip(sdr, hdr_pq, strict=True))]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The operators that are run, in a cache of its own."""
    monkeypatch.setenv("VITM_CACHE", str(tmp_path / "cache"))
    seen: list[str] = []
    for operator in (Analytic, Gain):
        forward = operator.forward

        def spy(self: Any, sdr: torch.Tensor, forward: Any = forward) -> Any:
            seen.append(type(self).__name__)
            return forward(self, sdr)

        monkeypatch.setattr(operator, "forward", spy)
    return seen


def measure(
    frames: list[dict[str, Any]], task: CSRNetTask | None = None, **options: Any
) -> dict[str, dict[str, float]]:
    baselines = AnalyticBaselines()
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[baselines],
        **options,
    )
    trainer.test(task or CSRNetTask(width=4, conditions=4), DataLoader(frames), verbose=False)  # type: ignore[arg-type]
    return baselines.results


def test_the_numbers_are_the_metrics_own(frames: list[dict[str, Any]], calls: list[str]) -> None:
    results = measure(frames)
    sdr, hdr_pq = (torch.stack([frame[key] for frame in frames]) for key in ("sdr", "hdr_pq"))
    operators: dict[str, Any] = {m: Analytic(m) for m in METHODS if m != "clip"}
    operators |= {
        "gamut + PQ, 203 cd/m2": Analytic("clip"),
        "best gain (+0.50 stops, oracle)": Gain(DIFFUSE_WHITE_NITS * 2**0.5),
    }
    assert results.keys() == operators.keys()
    for name, operator in operators.items():
        metrics = frame_metrics(CSRNetTask.metrics)
        for x, y in zip(sdr, hdr_pq, strict=True):
            metrics.update(operator(x[None]), y[None])
        assert results[name] == {key: float(value) for key, value in metrics.compute().items()}, name


def test_they_are_measured_once(frames: list[dict[str, Any]], calls: list[str], tmp_path: Path) -> None:
    first = measure(frames)
    assert len(calls) == 3 * (len(METHODS) + 17 + 1)
    (file,) = (tmp_path / "cache/yardsticks").iterdir()
    calls.clear()
    assert measure(frames, CSRNetTask(width=8, conditions=4)) == first  # another network
    assert calls == []
    assert measure(frames, limit_test_batches=2) != first  # the same frames, fewer of them
    assert set(calls) <= {"Gain"}  # another gain may be the best now
    assert [path for path in file.parent.iterdir() if path != file] == []


def test_another_way_to_measure_is_measured(
    frames: list[dict[str, Any]], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(frames)
    calls.clear()
    for changed in (
        lambda: measure(frames, CSRNetTask(width=4, conditions=4, test_metrics=["psnr"])),
        lambda: measure([frames[0], {**frames[1], "hdr_pq": frames[1]["hdr_pq"] * 0.999}, frames[2]]),
    ):
        changed()
        assert "Analytic" in calls
        calls.clear()
    monkeypatch.setattr(kept_sums, "_code", lambda: "another version")
    measure(frames)
    assert len(calls) == 3 * (len(METHODS) + 17 + 1)


def test_a_cache_that_cannot_be_written_is_no_error(
    frames: list[dict[str, Any]], calls: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert measure(frames) == measure(frames)


class Median(FrameMetric):
    """A metric whose state is no sum."""

    values = (MetricValue("median", "median"),)

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", [], dist_reduce_fx="cat")

    def frame_values(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (pred - target).abs().mean(dim=(-3, -2, -1))

    def add(self, values: torch.Tensor) -> None:
        self.seen.append(values)  # type: ignore[union-attr, operator]

    def compute(self) -> torch.Tensor:
        return torch.cat(self.seen).median()  # type: ignore[arg-type]


def test_metrics_that_are_no_sums_are_measured_each_time(frames: list[dict[str, Any]], calls: list[str]) -> None:
    def task() -> CSRNetTask:
        task = CSRNetTask(width=4, conditions=4)
        task.test_metrics.add_metrics({"median": Median()})
        return task

    first = measure(frames, task())
    calls.clear()
    assert measure(frames, task()) == first
    assert calls.count("Analytic") == 3 * len(METHODS)
    assert first["hable"]["median"] > 0
