"""The codes in the PNG files against formulas of the standards: each classic mistake of colour would be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data.prepare.films import codes, moving_bars, write_ffv1
from vitm.cli import main

# none is grey, none is near a primary's edge; red, green and blue differ in each
COLOURS = np.array([[0.62, 0.31, 0.12], [0.15, 0.55, 0.35], [0.2, 0.3, 0.7], [0.75, 0.7, 0.2], [0.4, 0.2, 0.45]])


def prepare(folder: Path, sdr: dict[str, Any], hdr: dict[str, Any]) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    """Two films of the same bars -> their first frames, R, G, B, and the record."""
    film = moving_bars(30, COLOURS)
    write_ffv1(folder / "s.mkv", film, **{"matrix": "bt709", "bits": 8, **sdr})
    write_ffv1(folder / "h.mkv", film, **{"matrix": "bt2020", "bits": 10, **hdr})
    (folder / "p.csv").write_text("sdr,hdr,split\ns.mkv,h.mkv,test\n")
    assert main(["prepare", "frames", str(folder / "p.csv"), str(folder / "out"), "--interval", "1"]) == 0
    images = [cv2.imread(str(folder / f"out/test/{kind}/s_000000.png"), -1)[..., ::-1] for kind in ("sdr", "hdr")]
    return images, json.loads((folder / "out/manifest.json").read_text())["sources"]["s"]


def inside(image: NDArray[Any]) -> NDArray[np.float64]:
    """The colour of each of the first five bars, in the middle of the bar, (5, 3)."""
    return np.array([image[8:64, 16 * i + 6 : 16 * i + 10].reshape(-1, 3).mean(axis=0) for i in range(5)])


@pytest.mark.parametrize("full", [False, True])
def test_colours_are_those_of_the_videos(tmp_path: Path, full: bool) -> None:
    (sdr, hdr), record = prepare(tmp_path, {"full": full}, {"full": full})
    assert (sdr.dtype, hdr.dtype) == (np.uint8, np.uint16)
    # half a code of Y', Cb and Cr each; BT.601 is wrong by 0.02 to 0.06, full for limited range by 0.03 to 0.07
    np.testing.assert_allclose(inside(sdr) / 255, COLOURS, atol=0.0085)
    np.testing.assert_allclose(inside(hdr) / 65535, COLOURS, atol=0.0017)
    expected = {
        "sdr": ("yuv420p", 8, "bt709", "bt709", "bt709"),
        "hdr": ("yuv420p10le", 10, "bt2020", "pq", "bt2020"),
    }
    for kind, values in expected.items():
        decoded = record[kind]["decoded_as"]
        assert tuple(decoded[k] for k in ("pixel_format", "bit_depth", "matrix", "transfer", "primaries")) == values
        assert decoded["range"] == ("full" if full else "limited")
        assert decoded["assumed_for_lack_of_tags"] == []


def test_the_mistakes_would_be_seen() -> None:
    """What the tolerances above tell apart: the same codes, decoded wrongly."""

    def decoded(matrix: str, wrong: str, full: tuple[bool, bool]) -> NDArray[np.float64]:
        """R'G'B' of codes that were made with one matrix and range, and are decoded with another."""
        zero = codes(np.zeros(3), wrong, 10, full[1])
        basis = np.stack([codes(np.eye(3)[i], wrong, 10, full[1]) - zero for i in range(3)])
        return (codes(COLOURS, matrix, 10, full[0]) - zero) @ np.linalg.inv(basis)

    right = decoded("bt2020", "bt2020", (False, False))
    np.testing.assert_allclose(right, COLOURS, atol=1e-12)
    for matrix, wrong, full, tolerance in (
        ("bt2020", "bt601", (False, False), 0.0017),
        ("bt2020", "bt709", (False, False), 0.0017),
        ("bt709", "bt601", (False, False), 0.0085),
        ("bt709", "bt2020", (False, False), 0.0085),
        ("bt2020", "bt2020", (False, True), 0.0085),
        ("bt709", "bt709", (True, False), 0.0085),
    ):
        assert np.abs(decoded(matrix, wrong, full) - COLOURS).max() > 1.5 * tolerance
    assert np.abs(COLOURS - COLOURS[:, ::-1]).max(axis=1).min() > 0.04  # B, G, R for R, G, B


def test_missing_tags_are_assumed_and_said(tmp_path: Path) -> None:
    (sdr, hdr), record = prepare(tmp_path, {"tags": False}, {"tags": False})
    np.testing.assert_allclose(inside(sdr) / 255, COLOURS, atol=0.0085)
    np.testing.assert_allclose(inside(hdr) / 65535, COLOURS, atol=0.0017)
    for kind in ("sdr", "hdr"):
        assert {"matrix", "transfer", "primaries"} <= {*record[kind]["decoded_as"]["assumed_for_lack_of_tags"]}
    assert record["hdr"]["decoded_as"]["transfer"] == "pq"


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    grey = np.repeat(np.arange(300, 364)[:, None] - 64, 3, axis=1) / 876  # successive 10-bit codes
    film = np.concatenate([moving_bars(30, COLOURS), np.tile(np.repeat(grey, 2, axis=0), (30, 16, 1, 1))], axis=1)
    write_ffv1(tmp_path / "s.mkv", film, "bt709", 8)
    write_ffv1(tmp_path / "h.mkv", film, "bt2020", 10)
    (tmp_path / "p.csv").write_text("sdr,hdr,split\ns.mkv,h.mkv,test\n")
    assert main(["prepare", "frames", str(tmp_path / "p.csv"), str(tmp_path / "out"), "--interval", "1"]) == 0
    row = cv2.imread(str(tmp_path / "out/test/hdr/s_000000.png"), -1)[80, ::2, 1]
    np.testing.assert_allclose(row, grey[:, 0] * 65535, atol=1)
    assert len(np.unique(row)) == 64
