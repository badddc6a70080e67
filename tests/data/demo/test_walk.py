"""Walks through a room whose only bodies are a ball and a block, against lines and spheres written out here."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from vitm.data import DemoWalks
from vitm.data.demo import walk, walks
from vitm.data.demo.photographs import Texture
from vitm.data.demo.raycast import BALLS, BLOCKS, meet
from vitm.data.demo.room import Ball, Box, Panel, Room
from vitm.data.demo.scenes import DemoScene
from vitm.data.demo.stages import STAGES
from vitm.data.demo.walk import RoomWalk
from vitm.data.fake.sequences import write_fake_panoramas
from vitm.data.sequences.long_clip import LongClip
from vitm.ops.warp import warp

LOW, HIGH = np.array((-2.0, -1.5, -2.5)), np.array((2.0, 1.5, 2.5))
SIDE = 64
SCENE = DemoScene("plain", "test", "plain", (), None, 11)


@pytest.fixture(autouse=True)
def plain_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room with smooth patterns on its walls, a lamp in the ceiling, and a ball and a block before each wall."""

    def stage(rng: np.random.Generator, photos: list[str], surface: str | None) -> Room:
        y, x = np.mgrid[:64, :64] / 64 * 2 * np.pi
        pattern = np.stack((0.5 + 0.3 * np.sin(x), 0.5 + 0.3 * np.cos(2 * y), 0.5 + 0.3 * np.sin(x + y)), -1)
        wall = Texture(pattern.astype(np.float32))
        lamp = Panel(3, (0.0, 0.0), (3.0, 3.0), Texture(np.ones((8, 8, 3), np.float32)), nits=100)
        balls = tuple(Ball((x, 0.1, z), 0.3, wall, mirror=0.0) for x, z in ((0, -1.6), (0, 1.6), (-1.4, 0), (1.4, 0)))
        block = Box((0.7, -1.5, -1.2), (1.0, -0.3, -0.9), wall)
        return Room(tuple(LOW), tuple(HIGH), (wall,) * 6, (3.0,) * 6, (lamp,), balls, (block,))

    monkeypatch.setitem(STAGES, "plain", stage)
    walk._eye_of.cache_clear()


def seen_points(clip: RoomWalk, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) where the pixels' rays leave the room, and whether no ball or block is before them."""
    rays = clip._path(t).rays((SIDE, SIDE)).reshape(-1, 3)
    start = clip.place(t).astype(np.float64)
    times = np.where(rays > 0, HIGH - start, LOW - start) / rays
    ends = start + rays * times.min(1, keepdims=True)
    return ends, ~hidden(clip, t, ends)


def hidden(clip: RoomWalk, t: int, ends: np.ndarray) -> np.ndarray:
    """Whether the line from the camera to a point goes through a ball, or through the block at one of many steps."""
    start = clip.place(t).astype(np.float64)
    way = ends - start
    out = np.zeros(len(ends), bool)
    for ball in clip.room(t).balls:
        nearest = np.clip(((np.array(ball.centre) - start) @ way.T) / (way**2).sum(1), 0, 1)
        out |= np.linalg.norm(start + nearest[:, None] * way - ball.centre, axis=1) < ball.radius
    (block,) = clip.room(t).blocks
    for step in np.linspace(0, 0.999, 300):
        at = start + step * way
        out |= ((at > block.low) & (at < block.high)).all(1)
    return out


@pytest.mark.parametrize("other", [9, 40])
def test_the_other_frame_lies_on_the_frame_where_it_is_seen(other: int) -> None:
    clip = RoomWalk("walk", SCENE, 181, 0.02, SIDE)
    flow, seen = clip.flow(5, other)
    light, other_light = (torch.from_numpy(clip.light(t)).permute(2, 0, 1)[None] for t in (5, other))
    error = ((warp(other_light, flow) + 0.1) / (light + 0.1)).log().abs().amax(1, keepdim=True)
    still = ((other_light + 0.1) / (light + 0.1)).log().abs().amax(1, keepdim=True)
    known = LongClip(clip, SIDE, 181).flow(5, other)
    assert torch.equal(known[0], flow)
    assert torch.equal(known[1], seen)
    assert LongClip(clip, SIDE // 2, 181).flow(5, other) is None
    inner = torch.nn.functional.max_pool2d((~seen).float(), 3, 1, 1) == 0  # the warp mixes neighbours at edges
    assert inner.float().mean() > 0.3
    assert error[inner].median() < 0.01
    assert error[inner].quantile(0.9) < 0.05
    assert still[inner].median() > 10 * error[inner].median()


def test_a_ball_takes_its_points_along() -> None:
    """The point of a ball that is nearest to the camera, before and after the ball and the camera have moved."""
    clip = RoomWalk("walk", SCENE, 181, 0.02, SIDE)
    flow, _ = clip.flow(5, 40)
    centres, other_centres = (np.array([ball.centre for ball in clip.room(t).balls]) for t in (5, 40))
    after = np.array([ball.centre for ball in clip.room(6).balls])
    assert np.linalg.norm(after - centres, axis=1) == pytest.approx([0.02] * 4, rel=1e-3)
    to_camera = clip.place(5) - centres
    point = centres + 0.3 * to_camera / np.linalg.norm(to_camera, axis=1, keepdims=True)
    start = clip._path(5).project(point - clip.place(5), (SIDE, SIDE))
    end = clip._path(40).project(point + other_centres - centres - clip.place(40), (SIDE, SIDE))
    shown = ((start > 3) & (start < SIDE - 4)).all(1)
    assert shown.any()
    for (x, y), target in zip(start[shown].round().astype(int), (end - start)[shown], strict=True):
        assert np.abs(flow[0, :, y, x].numpy() - target).max() < 0.5
        assert np.linalg.norm(target) > 5


def test_a_wall_is_hidden_where_a_body_stands_on_the_line_to_it() -> None:
    clip = RoomWalk("walk", SCENE, 181, 0.02, SIDE)
    points, walls = seen_points(clip, 5)
    flow, seen = clip.flow(5, 40)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    pixel = clip._path(40).project((points - clip.place(40)).reshape(SIDE, SIDE, 3), (SIDE, SIDE))
    expected = (pixel - np.stack((x, y), -1)).reshape(-1, 2)[walls]
    measured = flow[0].permute(1, 2, 0).reshape(-1, 2).numpy()[walls]
    assert np.abs(measured - expected).max() < 0.01
    inside = ((pixel >= 0) & (pixel <= SIDE - 1)).all(-1).ravel()
    visible = inside & ~hidden(clip, 40, points)
    wrong = (seen.flatten().numpy() != visible)[walls]
    assert (inside & ~visible)[walls].mean() > 0.01
    assert wrong.mean() < 0.004  # at the edges of bodies


def test_a_pencil_from_anywhere_meets_what_each_ray_meets() -> None:
    room = RoomWalk("walk", SCENE).room(0)
    eye = np.array((1.5, 0.6, 2.0), np.float32)
    for k, centre in enumerate((*(ball.centre for ball in room.balls), (0.85, -0.9, -1.05))):
        side = np.linspace(-0.02, 0.02, 5, dtype=np.float32)
        rays = np.asarray(centre, np.float32) - eye + np.stack(np.meshgrid(side, side, side), -1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        origin = np.broadcast_to(eye, rays.shape)
        pencil, whole = (meet(room, origin, rays, pencil=narrow) for narrow in (True, False))
        assert (whole[0] == (BLOCKS if k == 4 else BALLS + k)).all()
        for one, other in zip(pencil, whole, strict=True):
            np.testing.assert_array_equal(one, other)


def test_walks_are_clips_of_vitm_tc_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "demo_scenes", lambda split, seed: [SCENE])
    batches = []
    for _ in range(2):
        data = DemoWalks(size=32, crop_size=24, batch_size=1, num_workers=0, val_clips=1, frames=40)
        data.setup("fit")
        (batch,) = islice(data.train_dataloader(), 1)
        batches.append(data.on_after_batch_transfer(batch, 0))
    assert batches[0]["ldr"].shape == (1, 3, 3, 24, 24)
    assert batches[0]["homography"].isnan().all()
    assert batches[0]["linear"].amax() > 0.1
    assert all(torch.equal(batches[0][k], batches[1][k]) for k in ("ldr", "linear", "ev"))
    data.setup("test")
    assert [clip.name for clip in data.find("test")] == ["walk_plain_0"]


def test_walks_stand_beside_the_clips_of_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(walks, "demo_scenes", lambda split, seed: [replace(SCENE, name=f"{split}_{seed}")])
    write_fake_panoramas(tmp_path, 2)
    data = DemoWalks([str(tmp_path), "demo_walks"], furnishings=2, size=32, crop_size=24, val_clips=1)
    names = {split: sorted(clip.name.partition("_")[0] for clip in data.find(split)) for split in ("train", "val")}
    assert names == {"train": ["panorama", "walk", "walk"], "val": ["panorama", "walk"]}
