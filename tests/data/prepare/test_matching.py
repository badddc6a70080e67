"""Offsets, likeness, bars and resampling, on noise and on cells that are built by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vitm.data.prepare.matching import correlate_motion, likeness, match
from vitm.data.prepare.survey import Survey


def cells(film: NDArray[Any]) -> NDArray[np.uint16]:
    return (film * 65535).round().astype(np.uint16)


def survey(film: NDArray[Any], rows: NDArray[Any] | None = None, height: int = 90) -> Survey:
    """Of a film (N, 9, 16) in [0, 1]; `rows`: which rows of pixels are no bars."""
    n = len(film)
    change = np.concatenate([[0], np.abs(np.diff(film, axis=0)).mean(axis=(1, 2))]).astype(np.float32)
    bright = np.ones(height, np.float32) if rows is None else rows.astype(np.float32)
    return Survey(cells(film), change, np.zeros(n, np.float32), np.zeros(n, bool), bright, np.ones(160, np.float32))


def noise(n: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((n, 9, 16))


def test_offset_of_noise_is_exact() -> None:
    film = noise(60).reshape(60, -1)
    for lag in (-25, -12, -1, 0, 8, 25):
        a, b = cells(film[max(-lag, 0) :]), cells(film[max(lag, 0) :] ** 0.5)  # any monotone curve
        tried = correlate_motion(a, b)
        assert tried.best[0] == lag
        assert tried.best[1] > 0.9
        assert not tried.denies(lag)
        assert tried.denies(lag + 1)
    still = cells(np.repeat(film[:1], 30, axis=0))
    assert correlate_motion(still, still).best == (0, 0.0)


def test_motion_is_correlated_as_by_definition() -> None:
    a, b = noise(23, 1).reshape(23, -1), noise(17, 2).reshape(17, -1)

    def moves(film: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = film - film.mean(axis=1, keepdims=True)
        return np.diff(flat / np.linalg.norm(flat, axis=1, keepdims=True), axis=0)

    x, y = moves(a), moves(b)
    tried = correlate_motion(cells(a), cells(b))
    assert tried.lags.tolist() == [*range(-8, 15)]
    for lag in tried.lags:
        pairs = [(x[t + lag], y[t]) for t in range(16) if 0 <= t + lag < 22]
        u, v = (np.concatenate(side) for side in zip(*pairs, strict=True))
        assert tried.at(int(lag)) == pytest.approx(u @ v / np.sqrt((u @ u) * (v @ v)), abs=1e-4)


def test_likeness_is_pearsons() -> None:
    a, b = noise(5, 3).reshape(5, -1), noise(5, 4).reshape(5, -1)
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(likeness(cells(a), cells(b)), expected, atol=1e-4)


@pytest.mark.parametrize("given", [True, False])
def test_match_follows_the_convention(given: bool) -> None:
    film, fps = noise(80), (Fraction(24), Fraction(24))
    found = match(survey(film), survey(film[10:]), fps, 10 if given else None, 3)
    assert (found.offset, len(found)) == (10, 70)
    np.testing.assert_array_equal(found.sdr, found.hdr + 10)  # SDR frame t + offset shows what HDR frame t shows
    np.testing.assert_allclose(found.likeness, 1, atol=1e-4)


@pytest.mark.parametrize(
    ("fast", "fps", "offset"),
    [("sdr", (48, 24), 6), ("hdr", (24, 48), 3), ("sdr", (60, 24), 5), ("sdr", (30, 24), 0)],
)
def test_frame_rates_are_matched_by_time(fast: str, fps: tuple[int, int], offset: int) -> None:
    """A film of 240 pictures a second is seen at two rates; one file starts later."""
    rng = np.random.default_rng(5)
    film = np.cumsum(rng.normal(0, 0.02, (1200, 9, 16)), axis=0)
    film = 0.1 + 0.8 * (film - film.min()) / np.ptp(film)
    sdr_rate, hdr_rate = fps
    start = offset / sdr_rate if offset > 0 else 0.0  # seconds that HDR begins later
    times = [np.arange(0, 4.9, 1 / sdr_rate), np.arange(start, 4.9, 1 / hdr_rate)]
    s, h = (film[np.floor(t * 240 + 1e-6).astype(int)] for t in times)
    found = match(survey(s), survey(h), (Fraction(sdr_rate), Fraction(hdr_rate)), None, 3)
    assert abs(found.offset - offset) <= Fraction(1, 2)  # 60 and 24 meet half way between frames
    apart = np.abs(times[0][found.sdr] - times[1][found.hdr])
    assert apart.max() <= 0.5 / max(fps) + 1e-6  # the nearest frame in time
    assert len(found) > 0.9 * min(len(s), len(h))


def test_bars_must_agree() -> None:
    film, fps = noise(40), (Fraction(24), Fraction(24))
    rows = np.zeros(90)
    rows[11:80] = 1
    found = match(survey(film, rows), survey(film, rows), fps, None, 3)
    assert found.picture == (slice(12, 80), slice(0, 160))  # even edges
    with pytest.raises(ValueError, match="black bars differ: SDR's picture is rows 11 to 80, HDR's 0 to 90"):
        match(survey(film, rows), survey(film), fps, None, 3)
    with pytest.raises(ValueError, match="black throughout"):
        match(survey(film, 0 * rows), survey(film, 0 * rows), fps, None, 3)


def test_other_films_and_lost_pieces_are_refused() -> None:
    fps = (Fraction(24), Fraction(24))
    with pytest.raises(ValueError, match="do not show the same frames"):
        match(survey(noise(60)), survey(noise(60, 9)), fps, None, 3)
    with pytest.raises(ValueError, match="given as 2, but the content says 10: SDR frame 10 shows what HDR frame 0"):
        match(survey(noise(80)), survey(noise(80)[10:]), fps, 2, 3)
    film = noise(900)
    lacking = np.delete(film, range(400, 405), axis=0)
    with pytest.raises(ValueError, match="by HDR frame 480 they are 5 frames further apart"):
        match(survey(film), survey(lacking), fps, 0, 3)
