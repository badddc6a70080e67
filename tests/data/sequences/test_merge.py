"""Merged exposures against the light that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vitm.data.fake.sequences import fake_light, write_fake_sice
from vitm.data.sequences.merge import merge_stack
from vitm.data.sequences.sice import MERGED, find_stacks, merge_all
from vitm.video import read_image

STEPS = (-3.0, -1.5, 0.0, 1.0, 2.5)


def exposures(light: np.ndarray, steps: Sequence[float] = STEPS) -> list[np.ndarray]:
    return [np.round(255 * np.clip(light * 2**ev, 0, 1) ** (1 / 2.2)).astype(np.uint8) for ev in steps]


def error_stops(merged: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Absolute error in stops, but for one common gain."""
    difference = np.log2(np.maximum(merged, 1e-9) / light)
    return np.abs(difference - np.median(difference))


def test_stack_gives_back_the_light_far_above_any_one_exposure() -> None:
    light = fake_light(80, 100, seed=3)
    merged = merge_stack(exposures(light))
    assert merged.dtype == np.float32
    error = error_stops(merged, light)
    assert np.percentile(error, 99) < 0.06
    bright = light > 3  # clipped in the middle exposure
    assert bright.mean() > 0.02
    assert error[bright].max() < 0.1
    assert np.median(merged / light) == pytest.approx(1, abs=0.03)  # the middle exposure's scale


def test_order_of_the_exposures_does_not_matter() -> None:
    stack = exposures(fake_light(60, 60))
    np.testing.assert_array_equal(merge_stack(stack[::-1]), merge_stack(stack))
    np.testing.assert_array_equal(merge_stack([stack[k] for k in (2, 0, 4, 1, 3)]), merge_stack(stack))


@pytest.mark.parametrize("shift", [(3, -2), (-5, 4)])
def test_shifts_of_the_camera_are_undone(shift: tuple[int, int]) -> None:
    wide = fake_light(140, 180, seed=5)
    right, down = shift
    views = [wide[20 + k * down : 120 + k * down, 20 + k * right : 160 + k * right] for k in range(-1, 2)]
    stack = [exposures(view, (ev,))[0] for view, ev in zip(views, (-3.0, 0.0, 2.0), strict=True)]
    inner = (slice(12, -12), slice(12, -12))
    assert np.percentile(error_stops(merge_stack(stack), views[1])[inner], 98) < 0.1
    still = [exposures(views[1], (ev,))[0] for ev in (-3.0, 0.0, 2.0)]
    assert np.percentile(error_stops(merge_stack(still), views[1])[inner], 98) < 0.1


def test_ends_of_the_range_take_the_nearest_exposure() -> None:
    light = fake_light(60, 80)
    light[:4, :4], light[-4:, -4:] = 1000.0, 1e-7
    merged = merge_stack(exposures(light))
    assert np.isfinite(merged).all()
    assert merged[:4, :4].min() == pytest.approx(8, rel=0.1)  # the darkest, 3 stops down, clips there
    assert merged[-4:, -4:].max() < 1e-4


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ([np.full((8, 8, 3), 99, np.uint8)], "1 exposure; expected two or more"),
        ([np.full((8, 8, 3), 99, np.uint8), np.full((8, 9, 3), 99, np.uint8)], "sizes"),
        ([np.zeros((8, 8, 3), np.uint8)] * 3, "only 0 of 3"),
        ([np.full((8, 8, 3), 255, np.uint8)] * 3, "only 0 of 3"),
        ([np.full((8, 8, 3), 255, np.uint8), np.full((8, 8, 3), 99, np.uint8)], "only 1 of 2"),
    ],
)
def test_stacks_without_hdr_light_are_refused(stack: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge_stack(stack)


def test_steps_that_cannot_be_measured_are_refused() -> None:
    y, _ = np.mgrid[:64, :64]
    light = np.repeat(np.where(y < 32, 0.2, 200.0)[..., None], 3, 2)
    with pytest.raises(ValueError, match=r"exposures 1 and 2 .* too large to estimate"):
        merge_stack(exposures(light, (-9.0, 0.0)))


def test_official_layout_is_merged_once(tmp_path: Path) -> None:
    write_fake_sice(tmp_path, 3)
    stacks = find_stacks(tmp_path)
    assert [s.name for s in stacks] == ["sice_part1_001", "sice_part1_002", "sice_part2_001"]
    assert [p.name for p in stacks[2].exposures] == [f"{k}.JPG" for k in range(1, 6)]
    stills = merge_all(stacks)
    for k, still in enumerate(stills):
        error = error_stops(read_image(still.path), fake_light(60, 80, seed=k))
        assert np.percentile(error, 95) < 0.1
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / MERGED).iterdir()}
    assert len(first) == 3
    merge_all(find_stacks(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / MERGED).iterdir()} == first
    assert len(find_stacks(tmp_path / "Dataset_Part1")) == 2  # one part is a root too


def test_large_exposures_are_merged_small(tmp_path: Path) -> None:
    write_fake_sice(tmp_path, 1, 2, (30, 2048))
    (still,) = merge_all(find_stacks(tmp_path))
    assert read_image(still.path).shape == (15, 1024, 3)


@pytest.mark.parametrize("damage", ["single", "gap", "size", "clipped", "cut"])
def test_damaged_scenes_are_named(tmp_path: Path, damage: str) -> None:
    write_fake_sice(tmp_path, 1, 3)
    scene = tmp_path / "Dataset_Part1" / "1"
    if damage in ("single", "gap"):
        (scene / "2.JPG").unlink()
    if damage == "single":
        (scene / "3.JPG").unlink()
    if damage == "size":
        write_fake_sice(tmp_path / "other", 1, 3, (40, 80))
        (tmp_path / "other" / "Dataset_Part1" / "1" / "2.JPG").replace(scene / "2.JPG")
    if damage == "clipped":
        write_fake_sice(tmp_path / "other", 1, 3, step=40)
        for k in (1, 2):
            (scene / f"{k}.JPG").write_bytes((tmp_path / "other" / "Dataset_Part1" / "1" / "3.JPG").read_bytes())
    if damage == "cut":
        (scene / "2.JPG").write_bytes(b"no picture")
    message = {
        "single": r"Dataset_Part1/1 holds 1 exposure\(s\) \(1\.JPG\); expected two or more",
        "gap": r"Dataset_Part1/1 holds the exposures \[1, 3\]",
        "size": r"Dataset_Part1/1: exposures of sizes",
        "clipped": r"Dataset_Part1/1: only 1 of 3 exposures",
        "cut": r"Dataset_Part1/1: 2\.JPG cannot be decoded",
    }[damage]
    with pytest.raises(ValueError, match=message):
        merge_all(find_stacks(tmp_path))
    assert not list(tmp_path.rglob("*.exr"))
