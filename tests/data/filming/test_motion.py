"""Placements, paths and exact flow against marked pixels, plain NumPy, and the turning camera's own flow."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from vitm.data.fake.sequences import write_fake_panoramas
from vitm.data.filming import camera
from vitm.data.filming.motion import PerspectivePath, Placement, film_still, homography_flow
from vitm.data.sequences.panoramas import PanoramaFile
from vitm.ops.warp import warp
from vitm.video import write_exr

PLACEMENTS = [
    Placement(12, 7, 3, 2, across, down, turns)
    for across, down, turns in product((False, True), (False, True), range(4))
]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_placement_matrix_says_where_pixels_go(placement: Placement) -> None:
    y, x = np.mgrid[:12, :12]
    part = placement(np.stack([x, y, np.ones_like(x)], -1))
    assert part.shape == (7, 7, 3)
    there = part @ placement.matrix.T
    y, x = np.mgrid[:7, :7]
    np.testing.assert_allclose(there, np.stack([x, y, np.ones_like(x)], -1))


def test_drawn_placements_reach_every_corner_and_symmetry() -> None:
    rng = np.random.default_rng(0)
    drawn = [Placement.draw(rng, 10, 8, flips=True, rotations=True) for _ in range(400)]
    assert {(p.x, p.y) for p in drawn} == {*product(range(3), repeat=2)}
    assert {(p.across, p.down, p.turns) for p in drawn} == {*product((False, True), (False, True), range(4))}
    plain = [Placement.draw(rng, 10, 8, flips=False, rotations=False) for _ in range(50)]
    assert {(p.across, p.down, p.turns) for p in plain} == {(False, False, 0)}


def test_corners_of_a_perspective_path_walk_smoothly_by_at_most_a_tenth() -> None:
    path = PerspectivePath((5,), 64)
    assert path.side == 80
    corners = np.array([[0, 0, 1], [63, 0, 1], [63, 63, 1], [0, 63, 1.0]]).T
    seen = []
    for t in range(200):
        at = np.linalg.inv(path(t)) @ corners  # on the plane
        seen.append((at[:2] / at[2]).T)
    moved = np.array(seen) - (corners[:2].T + 8)
    assert np.abs(moved).max() <= 6.4 + 1e-3
    assert np.abs(moved).max() > 4
    assert np.abs(np.diff(moved, axis=0)).max() <= 2 * 6.4 * np.pi / 2 / 30 + 1e-3
    assert min(np.min(seen), 79 - np.max(seen)) >= 0  # never past the edge of the plane
    np.testing.assert_array_equal(path(77), PerspectivePath((5,), 64)(77))
    assert not np.allclose(path(77), PerspectivePath((6,), 64)(77))


def waves(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
    """(3, H, W) at positions (H, W): bends by less than 4e-3 between two pixels, and is known everywhere."""
    return torch.from_numpy(
        np.stack([1.5 + np.sin(0.15 * x + 0.08 * y), 2 + np.cos(0.11 * y - 0.05 * x), 1 + 0.01 * x + 0.02 * y])
    ).float()


def still_of(side: int) -> torch.Tensor:
    y, x = np.mgrid[:side, :side]
    return waves(x, y)


@pytest.mark.parametrize("placement", [Placement(64, 64), Placement(64, 40, 5, 17, True, False, 3)], ids=str)
def test_filmed_still_is_the_still_at_inverse_positions(placement: Placement) -> None:
    path, still = PerspectivePath((1,), 64), still_of(80)
    times = (0, 11, 40)
    matrices = np.stack([placement.matrix @ path(t) for t in times])
    frames = film_still(still, torch.from_numpy(matrices), placement.crop).numpy()
    for frame, t in zip(frames, times, strict=True):
        y, x = np.mgrid[: placement.crop, : placement.crop]
        at = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(placement.matrix @ path(t)).T
        np.testing.assert_allclose(frame, waves(at[..., 0] / at[..., 2], at[..., 1] / at[..., 2]), atol=5e-3)


def test_filmed_still_is_bilinear_in_exact_positions() -> None:
    """A still that no plane describes, against NumPy in fp64; beyond its edge, the edge."""
    still = torch.rand(3, 20, 26, generator=torch.Generator().manual_seed(0))
    matrix = np.array([[1.1, 0.1, -3], [0.05, 0.9, 2], [1e-3, -2e-3, 1]])
    matrices = np.stack([matrix, -2 * matrix, np.eye(3) - [[0, 0, 9], [0, 0, -7], [0, 0, 0]]])  # of any scale
    y, x = np.mgrid[:24, :24]
    for frame, h in zip(film_still(still, torch.from_numpy(matrices), 24), matrices, strict=True):
        at = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(h).T
        u, v = (np.clip(at[..., i] / at[..., 2], 0, n - 1) for i, n in ((0, 26), (1, 20)))
        left, top = (np.minimum(np.floor(p).astype(int), n - 2) for p, n in ((u, 26), (v, 20)))
        pixels, u, v = still.double().numpy(), u - left, v - top
        rows = [(1 - u) * pixels[:, top + i, left] + u * pixels[:, top + i, left + 1] for i in (0, 1)]
        np.testing.assert_allclose(frame.numpy(), (1 - v) * rows[0] + v * rows[1], atol=4e-6)


@pytest.mark.parametrize("times", [(0, 30), (100, 13)])
def test_exact_flow_lays_one_frame_of_a_still_onto_another(times: tuple[int, int]) -> None:
    path, still = PerspectivePath((2,), 64), still_of(80)
    placement = Placement(64, 48, 9, 4, False, True, 1)
    matrices = torch.from_numpy(np.stack([placement.matrix @ path(t) for t in times])).float()
    here, there = film_still(still, matrices, 48)
    flow, valid = homography_flow(matrices[:1], matrices[1:], (48, 48))
    assert flow.abs().max() > 2
    assert valid.float().mean() > 0.6
    difference = (warp(there[None], flow) - here).abs()[valid.expand(-1, 3, -1, -1)]
    assert difference.max() < 0.03
    assert difference.mean() < 3e-3
    assert (warp(there[None], -flow) - here).abs().mean() > 0.1  # the test can fail


def test_exact_flow_is_projection_pixel_by_pixel() -> None:
    a = np.array([[1.1, 0.1, -3], [0.05, 0.9, 2], [1e-3, -2e-3, 1]])
    b = np.array([[0.9, -0.2, 4], [0.1, 1.2, -5], [-1e-3, 1e-3, 1]])
    flow, valid = homography_flow(*(torch.from_numpy(m)[None] for m in (a, b)), (6, 9))
    for y, x in product(range(6), range(9)):
        plane = np.linalg.solve(a, (x, y, 1))
        there = b @ plane
        there = there[:2] / there[2]
        np.testing.assert_allclose(flow[0, :, y, x].numpy(), there - (x, y), atol=1e-4)
        assert bool(valid[0, 0, y, x]) == (0 <= there[0] <= 8 and 0 <= there[1] <= 5)


def test_unknown_motion_and_what_is_behind_the_camera_are_not_valid() -> None:
    known = torch.eye(3)[None]
    flow, valid = homography_flow(known, torch.full((1, 3, 3), torch.nan), (4, 4))
    assert not valid.any()
    assert (flow == 0).all()
    behind = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [-0.5, 0, 1]]])  # columns from 2 on lie behind
    flow, valid = homography_flow(known, behind, (4, 4))
    assert flow.isfinite().all()
    assert not valid[..., 2:].any()
    assert valid[0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"two \(B, 3, 3\)"):
        homography_flow(known, torch.eye(3), (4, 4))


def test_homographies_of_a_turning_camera_give_its_own_flow(tmp_path: Path) -> None:
    write_fake_panoramas(tmp_path, 1, 32)
    take = PanoramaFile.open("w", tmp_path / "world0.exr").take((3,), 40, 100)
    a, b = torch.from_numpy(take.homographies((10, 60), Placement(40, 40))).float()
    flow, _ = homography_flow(a[None], b[None], (40, 40))
    expected = camera.pose_flow(take.path(10), take.path(60), (40, 40))
    assert expected.abs().max() > 3
    torch.testing.assert_close(flow[0], expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("placement", [Placement(96, 96), Placement(96, 64, 20, 3, True, True, 3)], ids=str)
def test_exact_flow_lays_one_frame_of_a_panorama_onto_another(tmp_path: Path, placement: Placement) -> None:
    write_fake_panoramas(tmp_path, 1, 128)
    take = PanoramaFile.open("w", tmp_path / "world0.exr").take((4,), 96, 181)
    times = (30, 75)
    here, there = torch.from_numpy(take.planes(times, placement)).permute(0, 3, 1, 2).log2()
    a, b = torch.from_numpy(take.homographies(times, placement)).float()
    flow, valid = homography_flow(a[None], b[None], (placement.crop, placement.crop))
    assert flow.abs().max() > 4
    difference = (warp(there[None], flow) - here).abs()[valid.expand(-1, 3, -1, -1)]
    assert difference.max() < 0.1  # stops
    assert difference.mean() < 0.01
    assert (there - here).abs().mean() > 0.1  # the test can fail


def test_panorama_frame_is_what_lies_along_its_rays(tmp_path: Path) -> None:
    """Light that is a linear function of the direction, so that it is known everywhere without interpolation."""
    h = 256
    latitude = (0.5 - (np.arange(h) + 0.5) / h) * np.pi
    longitude = ((np.arange(2 * h) + 0.5) / (2 * h) - 0.5) * 2 * np.pi
    direction = np.stack(
        [
            np.cos(latitude)[:, None] * np.sin(longitude),
            np.broadcast_to(np.sin(latitude)[:, None], (h, 2 * h)),
            -np.cos(latitude)[:, None] * np.cos(longitude),
        ],
        -1,
    )
    write_exr(tmp_path / "d.exr", 2 + direction, "bt709")
    take = PanoramaFile.open("d", tmp_path / "d.exr").take((0,), 32, 60)
    frame = take.planes([20], Placement(32, 32))[0]
    rays = take.path(20).rays((32, 32))
    expected = 2 + rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    gain = np.median(frame / expected)
    np.testing.assert_allclose(frame / gain, expected, rtol=2e-3)
