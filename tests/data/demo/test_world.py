"""Panoramas, the turning camera, its exact flow, the developed SDR and the lit rooms, against closed forms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from vitm.color import pq_inverse_eotf
from vitm.color.tone import tone_map
from vitm.data.demo.lighting import LightMaps
from vitm.data.demo.photographs import PHOTOGRAPHS, Texture, photograph
from vitm.data.demo.render import render_room
from vitm.data.demo.room import Ball, Box, Panel, Room, Spot
from vitm.data.filming.camera import CameraPath, Pose, film, pose_flow
from vitm.data.filming.develop import auto_exposure, develop, film_curve
from vitm.data.filming.panorama import Panorama, add_glare, exposed, mended, soft_knee

SIZE = (54, 96)


def directions(height: int) -> np.ndarray:
    """The directions of a panorama's pixels, from its definition: centre -z, first row up, +x right of the centre."""
    lon = ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5) * 2 * np.pi
    lat = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    return np.stack((np.cos(lat) * np.sin(lon), np.sin(lat), -np.cos(lat) * np.cos(lon)), -1)


def smooth_light(d: np.ndarray) -> np.ndarray:
    """Light that varies smoothly over the sphere, in cd/m2; different in every direction."""
    x, y, z = np.moveaxis(d / np.linalg.norm(d, axis=-1, keepdims=True), -1, 0)
    return np.stack((50 + 40 * x + 5 * np.sin(6 * y), 60 + 30 * y + 5 * np.cos(5 * z), 40 + 20 * z), -1).astype(
        np.float32
    )


def pq(nits: np.ndarray) -> np.ndarray:
    """ST 2084, written out here."""
    y = (np.clip(nits, 0, 10000) / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def plain_room(grey: float = 0.5, **parts: object) -> Room:
    wall = Texture(np.full((8, 8, 3), grey, np.float32))
    return Room((-2.0, -1.5, -2.5), (2.0, 1.5, 2.5), (wall,) * 6, (1.0,) * 6, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("pose", [Pose(), Pose(178, 5, 20, 60), Pose(40, 85, 0, 70), Pose(-90, -88, 0, 70)])
def test_looking_gives_the_light_of_the_direction(pose: Pose) -> None:
    """In every direction: ahead, across the seam behind, at the zenith and at the nadir."""
    world = Panorama(smooth_light(directions(256)))
    rays = pose.rays(SIZE)
    assert np.abs(world.look(rays) - pq(smooth_light(rays))).max() < 3e-4


@pytest.mark.parametrize("yaw", [0, 90, -120])
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (25, 0), (-10, 30)])
def test_rays_turn_as_scipy_turns(yaw: float, pitch: float, roll: float) -> None:
    rays = Pose(yaw, pitch, roll, 90).rays((3, 5))
    ahead = np.array([[x, y, -2.5] for y in (1, 0, -1) for x in (-2, -1, 0, 1, 2)])  # 5 pixels in 90 degrees
    turned = Rotation.from_euler("YXZ", (-yaw, pitch, -roll), degrees=True).apply(ahead)
    np.testing.assert_allclose(rays.reshape(-1, 3), turned, atol=1e-12)


def test_the_angles_mean_what_they_say() -> None:
    centre = (1, 2)
    assert Pose(yaw=90).rays((3, 5))[centre][0] > 0  # +x lies to the right of -z
    assert Pose(pitch=30).rays((3, 5))[centre][1] > 0
    assert Pose(roll=30).rays((3, 5))[1, 4][1] < 0  # a camera turned clockwise: its right side looks down


def test_exact_flow_is_the_projection_of_rays() -> None:
    here, there = Pose(10, 4, 1, 55), Pose(12, 3, 2, 57)
    h, w = SIZE
    flow = pose_flow(here, there, SIZE).double().numpy()

    def matrix(pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        f = w / 2 / np.tan(np.radians(pose.field_of_view) / 2)
        to_pixels = np.array([[f, 0, -(w - 1) / 2], [0, -f, -(h - 1) / 2], [0, 0, -1]])
        turn = Rotation.from_euler("YXZ", (-pose.yaw, pose.pitch, -pose.roll), degrees=True).as_matrix()
        return to_pixels, turn

    (k0, r0), (k1, r1) = matrix(here), matrix(there)
    homography = k1 @ r1.T @ r0 @ np.linalg.inv(k0)  # of a turning camera
    y, x = np.mgrid[:h, :w].reshape(2, -1)
    q = homography @ np.stack((x, y, np.ones_like(x)))
    expected = np.stack((q[0] / q[2] - x, q[1] / q[2] - y)).reshape(2, h, w)
    assert np.abs(flow - expected).max() < 1e-4
    assert np.abs(expected).max() > 2


def sampled(frame: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`frame` (3, H, W) at p + flow(p), and where that lies well inside."""
    _, h, w = frame.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = torch.stack((x + flow[0], y + flow[1]), -1)
    inside = (at[..., 0] > 2) & (at[..., 0] < w - 3) & (at[..., 1] > 2) & (at[..., 1] < h - 3)
    grid = 2 * at / torch.tensor([w - 1, h - 1]) - 1
    return F.grid_sample(frame[None], grid[None], mode="bicubic", align_corners=True)[0], inside


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2).mean()))


def test_real_panoramas_keep_their_light_along_the_flow(shared: Path) -> None:
    """Warped along the exact flow, a frame is its neighbour; without it, it is far from it."""
    for name in ("city", "night"):
        world = Panorama.open(shared / "data" / "panoramas" / f"{name}.exr", peak_nits=4000)
        clip = film(world, CameraPath(Pose(30, 0, 0, 60), seed=1), 3, (216, 384))
        for a, b, flow in ((0, 1, clip.flow_forward[0]), (2, 1, clip.flow_backward[1])):
            warped, inside = sampled(clip.hdr_pq[b], flow)
            assert psnr(warped[:, inside], clip.hdr_pq[a][:, inside]) > 45
            assert psnr(clip.hdr_pq[b], clip.hdr_pq[a]) < 35


@pytest.mark.slow
def test_real_panoramas_hold_no_black_dots(shared: Path) -> None:
    files = sorted((shared / "data" / "panoramas").glob("*.exr"))
    assert len(files) == 8
    for file in files:
        world = Panorama.open(file, peak_nits=4000)
        y = world.nits @ np.array([0.2627, 0.6780, 0.0593])
        assert 1000 < world.nits.max() <= 4000
        assert y.min() > 1e-3
        assert np.log2(y.max() / np.percentile(y, 0.1)) > 11
        high = cv2.medianBlur(y.astype(np.float32), 5)
        near_lamps = cv2.dilate(y.astype(np.float32), np.ones((7, 7))) > 1500
        assert (near_lamps & (y < high / 30)).mean() < 2e-4


def test_mending_takes_the_neighbours_light(rng: torch.Generator) -> None:
    light = torch.rand(64, 128, 3, generator=rng).numpy() * 0.1 + 1
    spoiled = light.copy()
    spoiled[20, 30] = -0.5
    spoiled[40, 50] = 1000
    spoiled[41, 50] = 0.01  # a ring beside a lamp
    spoiled[10, 100] = 0.01  # dark, but not beside a lamp
    repaired = mended(spoiled)
    assert np.abs(repaired[20, 30] - 1.05).max() < 0.06
    assert np.abs(repaired[41, 50] - 1.05).max() < 0.06
    untouched = np.ones((64, 128), bool)
    untouched[20, 30] = untouched[41, 50] = False
    np.testing.assert_array_equal(repaired[untouched], spoiled[untouched])


def test_exposure_sets_the_log_average_at_the_horizon() -> None:
    light = np.full((32, 64, 3), 4.0, np.float32)
    light[:, 32:] = 1.0
    assert exposed(light, 30.0)[16, 0, 0] == pytest.approx(60, rel=1e-5)
    light[0] = 1e6  # the zenith hardly counts
    assert exposed(light, 30.0)[16, 0, 0] == pytest.approx(60, rel=1e-2)


def test_the_soft_knee_keeps_hue_and_everything_below_half_the_peak() -> None:
    nits = np.array([[10, 20, 30], [1000, 500, 3], [3000, 300, 30], [1e6, 1e5, 0]], np.float32)
    bent = soft_knee(nits, 2000)
    np.testing.assert_array_equal(bent[:2], nits[:2])
    assert 1000 < bent[2, 0] < 2000
    assert bent[3, 0] <= 2000
    np.testing.assert_allclose(bent[:, 1] * nits[:, 0], nits[:, 1] * bent[:, 0], rtol=1e-5)


def test_glare_keeps_the_light_and_spreads_it_over_the_seam() -> None:
    light = np.zeros((180, 360, 3), np.float32)
    light[90, 359] = 1000
    soft = add_glare(light)
    assert soft.sum() == pytest.approx(light.sum(), rel=0.02)
    assert soft[90, 0, 0] > 0
    assert soft[90, 0, 0] == pytest.approx(soft[90, 358, 0], rel=0.05)


@pytest.mark.parametrize(
    ("nits", "peak", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), 2000, "equirectangular"),
        (np.full((8, 16, 3), np.nan, np.float32), 2000, "finite"),
        (np.zeros((8, 16, 3), np.float32), 500, "1000"),
    ],
)
def test_what_is_no_panorama_is_refused(nits: np.ndarray, peak: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Panorama(nits, peak)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.exr"):
        Panorama.open(tmp_path / "none.exr")
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"expected \.exr or \.hdr"):
        Panorama.open(tmp_path / "a.jpg")
    (tmp_path / "a.hdr").write_bytes(b"x")
    with pytest.raises(ValueError, match="not a Radiance picture"):
        Panorama.open(tmp_path / "a.hdr")


def test_radiance_files_are_panoramas_too(tmp_path: Path) -> None:
    light = smooth_light(directions(32))
    assert cv2.imwrite(str(tmp_path / "a.hdr"), light[..., ::-1])
    world = Panorama.open(tmp_path / "a.hdr", grey_nits=30)
    y = world.nits @ np.array([0.2627, 0.6780, 0.0593])
    assert 25 < np.median(y) < 35
    assert world.nits.argmax(-1).std() > 0  # colours, not grey


def test_a_path_is_smooth_and_seeded() -> None:
    path = CameraPath(Pose(20, 0, 0, 55), seed=3)
    poses = [path(k) for k in range(240)]
    assert poses == [CameraPath(Pose(20, 0, 0, 55), seed=3)(k) for k in range(240)]
    assert poses != [CameraPath(Pose(20, 0, 0, 55), seed=4)(k) for k in range(240)]
    yaw = np.array([p.yaw for p in poses])
    assert np.abs(np.diff(yaw)).max() < 1.5  # degrees a frame
    assert np.abs(np.diff(yaw, 2)).max() < 0.05  # no jerk
    largest = max(float(pose_flow(a, b, (216, 384)).abs().max()) for a, b in pairwise(poses[:60]))
    assert 0.3 < largest < 12


def test_a_clip_has_the_shapes_and_codes_it_promises() -> None:
    clip = film(Panorama(smooth_light(directions(64)) * 4), CameraPath(), 3, SIZE, first=10)
    assert clip.hdr_pq.shape == clip.sdr.shape == clip.nits.shape == (3, 3, *SIZE)
    assert clip.flow_forward.shape == clip.flow_backward.shape == (2, 2, *SIZE)
    assert clip.hdr_pq.dtype == clip.sdr.dtype == torch.float32
    torch.testing.assert_close((clip.hdr_pq * 1023).round() / 1023, clip.hdr_pq, rtol=0, atol=1e-7)
    torch.testing.assert_close((clip.sdr * 255).round() / 255, clip.sdr, rtol=0, atol=1e-7)
    assert len(film(Panorama(smooth_light(directions(64))), CameraPath(), 1, SIZE).flow_forward) == 0
    with pytest.raises(ValueError, match="at least 1"):
        film(Panorama(smooth_light(directions(64))), CameraPath(), 0, SIZE)


def test_the_film_curve_rises_without_a_step_and_clips() -> None:
    x = torch.linspace(0, 3, 300_001, dtype=torch.float64)
    y = film_curve(x)
    slope = y.diff() / x.diff()
    assert (slope > -1e-9).all()
    assert slope.diff().abs().max() < 5e-3  # the shoulder continues the slope; the toe is steep but smooth
    assert y[0] == 0
    assert (y[x >= 1.8] == 1).all()
    assert y[x < 1.7].max() < 1
    middle = (x > 0.1) & (x < 0.3)
    gamma = torch.log(y[middle]).diff() / torch.log(x[middle]).diff()
    assert 1.15 < float(gamma.mean()) < 1.25  # BT.2390: camera and display together


def test_the_sdr_picture_is_none_of_the_analytic_operators() -> None:
    nits = torch.logspace(-1, 3, 64).expand(3, 64)[None, :, None].contiguous()
    sdr, _ = develop(nits)
    for method in ("bt2446a", "bt2446c", "hable", "reinhard", "clip"):
        assert psnr(sdr, tone_map(pq_inverse_eotf(nits), method)) < 30


def test_auto_exposure_is_slow_and_partial() -> None:
    nits = torch.full((48, 3, 4, 4), 15.0)
    nits[24:] = 60.0
    gain = torch.log2(auto_exposure(nits))
    assert gain[0] > 0 > gain[-1]
    assert float(gain[0] - gain[-1]) < 0.5  # two stops of light change the exposure by less than half a stop
    assert float(gain.diff().abs().max()) < 0.03
    assert (auto_exposure(nits * 1e-4) <= 2).all()


def test_every_photograph_is_in_the_wheel_and_linear() -> None:
    for name, source in PHOTOGRAPHS.items():
        image = photograph(name)
        assert source.licence in ("CC0-1.0", "public domain")
        assert image.shape[2] == 3
        assert 0 <= image.min() < image.max() <= 1.0001
    with pytest.raises(ValueError, match="unknown photograph"):
        photograph("lena")


def test_a_dull_room_in_even_light_is_even() -> None:
    """Ambient light E/pi = 1 on a reflectance of 0.4 is a radiance of 0.4 wherever one looks."""
    room = plain_room(0.4, ambient=(1.0, 1.0, 1.0))
    np.testing.assert_allclose(render_room(room, 36), 0.4, rtol=1e-4)


def test_light_falls_with_the_square_of_the_distance() -> None:
    """A lamp of I candela at height h over a black floor: E / pi = I cos / (pi d^2)."""
    room = plain_room(0.0, spots=(Spot((0.0, 0.5, 0.0), (0.0, -1.0, 0.0), (10.0, 20.0, 5.0), focus=0.0),))
    points = np.array([[0, -1.5, 0], [1, -1.5, 0], [0, -1.5, -2]], np.float32)
    expected = np.array([1 / 4, 2 / 5**1.5, 2 / 8**1.5])[:, None] * np.array([10, 20, 5]) / np.pi
    np.testing.assert_allclose(LightMaps(room).on_face(2, points), expected, rtol=0.02)


def test_bodies_throw_shadows() -> None:
    lamp = Spot((0.0, 1.4, 0.0), (0.0, -1.0, 0.0), (10.0, 10.0, 10.0), focus=0.0)
    grey = Texture(np.full((8, 8, 3), 0.0, np.float32))
    below = np.array([[0.0, -1.5, 0.0], [1.5, -1.5, 1.5]], np.float32)
    for parts in (
        {"balls": (Ball((0.0, 0.5, 0.0), 0.3, grey),)},
        {"blocks": (Box((-0.3, 0, -0.3), (0.3, 0.4, 0.3), grey),)},
    ):
        light = LightMaps(plain_room(0.0, spots=(lamp,), **parts)).on_face(2, below)
        assert light[0].max() < 1e-3 * light[1].max()


def test_the_sun_comes_through_windows_only() -> None:
    sky = Panel(0, (0.0, 0.5), (1.0, 1.0), Texture(np.ones((8, 8, 3), np.float32)), nits=1e-6, sky=True)
    room = plain_room(0.0, panels=(sky,), sun=((-1.0, 0.5, 0.0), (np.pi, np.pi, np.pi)))
    slope = 0.5
    x = -2.0 + (0.5 + 1.5) / slope  # where the ray through the window's centre meets the floor
    points = np.array([[x, -1.5, 0.0], [x, -1.5, 0.8], [-1.5, -1.5, 0.0]], np.float32)
    light = (
        LightMaps(room).on_face(2, points)[:, 0]
        if x < 2
        else LightMaps(room).on_face(
            1, np.array([[2.0, 0.5 - 4 * slope, 0.0], [2.0, 0.5 - 4 * slope, 0.8], [2.0, 1.2, 0.0]], np.float32)
        )[:, 0]
    )
    cosine = (1 if x >= 2 else slope) / np.hypot(1, slope)
    np.testing.assert_allclose(light, [cosine, 0, 0], atol=0.02)


@pytest.mark.parametrize(("face", "yaw"), [(0, -90), (1, 90), (4, 0), (5, 180)])
def test_pictures_are_not_mirrored(face: int, yaw: float) -> None:
    image = np.zeros((8, 8, 3), np.float32)
    image[:, :4] = (1, 0, 0)  # red on the left
    image[:, 4:] = (0, 0, 1)
    image[4:] *= 0.5  # brighter above
    room = plain_room(0.0, panels=(Panel(face, (0.0, 0.0), (2.0, 2.0), Texture(image), nits=100.0),))
    seen = Panorama(render_room(room, 90) * 1.0).look(Pose(yaw, 0, 0, 30).rays((9, 9)))
    assert seen[4, 1].argmax() == 0
    assert seen[4, 7].argmax() == 2
    assert seen[1, 1, 0] > seen[7, 1, 0]


def test_a_mirror_ball_shows_the_lamp_behind_the_camera() -> None:
    lamp = Panel(5, (0.0, 0.0), (2.0, 2.0), Texture(np.ones((8, 8, 3), np.float32)), nits=1000.0)
    black = Texture(np.zeros((8, 8, 3), np.float32))
    ball = Ball((0.0, 0.0, -1.5), 0.3, black, mirror=0.5)
    seen = render_room(plain_room(0.0, panels=(lamp,), balls=(ball,)), 180)[90, 180]
    np.testing.assert_allclose(seen, 500, rtol=0.02)
