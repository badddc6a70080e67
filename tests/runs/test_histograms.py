"""Histograms of luminance: HDCFM's Figure 12 from runs of its tables."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.runs.test_table import finish
from vitm import cli
from vitm.training.callbacks.histograms import Histograms, luminance_histogram


def test_pixels_are_counted_by_the_code_of_their_luminance(rng):
    """By NumPy, with the constants and weights of BT.2100 (tables 4 and 5)."""
    hdr_pq = torch.rand(3, 40, 50, generator=rng) * 0.8
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = hdr_pq.double().numpy() ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    y = np.tensordot([0.2627, 0.6780, 0.0593], light, 1) ** m1
    codes = ((c1 + c2 * y) / (1 + c3 * y)) ** m2
    expected = np.histogram(codes, 72, (0, 1))[0] / codes.size
    assert np.abs(np.subtract(luminance_histogram(hdr_pq), expected)).sum() <= 2.5 / codes.size  # one at an edge


def test_the_first_test_samples_are_counted(tmp_path):
    """Predicted and true, by their names."""
    frames = {"dark": (0.1, 0.2), "light": (0.6, 0.7), "third": (0.6, 0.7)}
    task = SimpleNamespace(preview=lambda batch, outputs: (None, outputs[0], outputs[1], batch))
    counting = Histograms(tmp_path / "histograms.json", samples=2)
    for i, (name, codes) in enumerate(frames.items()):
        pair = [torch.full((3, 4, 4), code) for code in codes]
        counting.on_test_batch_end(SimpleNamespace(is_global_zero=True), task, pair, name, i)
    counting.on_test_end(None, task)
    content = json.loads((tmp_path / "histograms.json").read_text())
    assert [*content] == ["dark", "light"]
    assert [side.index(1.0) for side in content["dark"].values()] == [7, 14]  # 72 x 0.1, 72 x 0.2
    assert [*content["light"]] == ["prediction", "target"]


def test_a_table_s_rows_are_drawn_beside_the_truth(tmp_path, capsys):
    """The first and the last frame that all rows measured; runs of before have none."""
    pytest.importorskip("matplotlib")
    table = ["table", "hdcfm/table2", "--runs", str(tmp_path), "--histograms"]
    old = finish(tmp_path, "hdcfm/table2/full", "old", psnr=30.0, age=9)
    assert cli.main(table) == 2
    assert "no test frame is in the histograms.json of all rows" in capsys.readouterr().out.replace("\n", " ")
    shares = {name: [float(i == bin_) for i in range(72)] for name, bin_ in (("low", 20), ("high", 50))}
    other = finish(tmp_path, "hdcfm/table2/no_local", "new", psnr=31.0)
    for folder, names in ((old, ("a", "b", "c", "d", "e")), (other, ("b", "c", "d", "e"))):
        content = {name: {"prediction": shares["low"], "target": shares["high"]} for name in names}
        content["c"]["target"] = shares["high" if folder == old else "low"]  # another frame of the same name
        (folder / "histograms.json").write_text(json.dumps(content))
    assert cli.main(table) == 0
    drawing = (tmp_path / "hdcfm/table2/histograms.svg").read_text(encoding="utf-8")
    texts = [line.split("</text>")[0].rpartition(">")[2] for line in drawing.splitlines() if "</text>" in line]
    assert [text for text in texts if text in "abcde"] == ["b", "e"]
    assert {"truth", "M1+M2+M4", "10", "100"} <= {*texts}
