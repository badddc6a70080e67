"""A stream of frames gives what the whole clip at once gives, also after an interruption and around cuts."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vitm.evaluation import measuring
from vitm.evaluation.measuring import ClipState, clip_values, measure_clip
from vitm.evaluation.pairs import Pair, open_pair
from vitm.metrics import build_metric, frame_metrics, functional
from vitm.video import write_png16

NAMES = ("psnr", "ssim", "delta_e_itp", "mabd")
METRICS = {name: build_metric(name) for name in NAMES}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    rng = np.random.default_rng(0)
    base = 0.4 + 0.2 * np.sin(np.arange(40) * np.pi / 20)[None, :, None] + 0.02 * rng.random((24, 40, 3))
    for name, noise in (("pred", 0.02), ("target", 0.0)):
        (tmp_path / name).mkdir()
        for i in range(9):
            frame = np.roll(base, 2 * i, axis=1) + noise * rng.standard_normal(base.shape)
            write_png16(tmp_path / name / f"{i}.png", frame.astype(np.float32))
    return open_pair("clip", tmp_path / "pred", tmp_path / "target", fps=Fraction(25))


def whole(pair: Pair, rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    pred, target = (torch.stack(side)[None] for side in zip(*pair.frames(0), strict=True))
    return pred[:, rows], target[:, rows]


def run(pair: Pair, state: ClipState, stop_after: int | None = None) -> ClipState:
    def on_progress(frames: int) -> None:
        if stop_after is not None and state.done >= stop_after:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        measure_clip(pair, METRICS, state, torch.device("cpu"), on_progress)
    return state


def test_a_stream_gives_what_the_whole_clip_gives(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = frame_metrics(NAMES)
    metrics.update(*whole(pair))
    expected = {name: float(value) for name, value in metrics.compute().items()}
    for pixels in (1, 24 * 40 * 4, 2**20):
        monkeypatch.setattr(measuring, "_PIXELS_AT_ONCE", pixels)
        assert clip_values(run(pair, ClipState()), METRICS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_going_on_gives_the_same_numbers(pair: Pair, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    undisturbed = run(pair, ClipState())
    monkeypatch.setattr(measuring, "_PIXELS_AT_ONCE", 1)
    state = run(pair, ClipState(), stop)
    assert state.done == stop
    run(pair, state)
    assert state.done == 9
    for name in NAMES:
        torch.testing.assert_close(state.measured[name], undisturbed.measured[name], rtol=0, atol=0, equal_nan=True)


def test_pairs_across_a_cut_do_not_count(pair: Pair) -> None:
    state = run(pair, ClipState())
    state.cuts = [4]
    steps = [functional.mabd(functional.quantize_16bit(whole(pair, rows)[0])) for rows in (slice(0, 4), slice(4, 9))]
    expected = (3 * steps[0].pred + 4 * steps[1].pred) / 7
    assert clip_values(state, METRICS)["mabd_pred"] == pytest.approx(expected.item(), rel=1e-12)
    assert clip_values(state, METRICS)["psnr"] == clip_values(run(pair, ClipState()), METRICS)["psnr"]


def test_one_frame_has_no_differences(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_png16(tmp_path / name / "0.png", np.full((16, 16, 3), 0.5, np.float32))
    values = clip_values(run(open_pair("clip", tmp_path / "a", tmp_path / "b"), ClipState()), METRICS)
    assert values["psnr"] == np.inf
    assert values.keys() == {"psnr", "ssim", "delta_e_itp"}


def test_nan_is_not_hidden(pair: Pair) -> None:
    state = run(pair, ClipState())
    for name in NAMES:
        state.measured[name][3] = torch.nan
    assert all(np.isnan(value) for value in clip_values(state, METRICS).values())
