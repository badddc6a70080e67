"""What training samples have to show, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vitm.data import LongSequences
from vitm.data.fake.sequences import write_fake_panoramas
from vitm.data.filming.motion import Placement
from vitm.data.sequences.aim import POINTS, Aim, View, choose, look
from vitm.data.sequences.clue_schedule import ClueSchedule

SIZE = 2 * POINTS
SCHEDULE = ClueSchedule(references=3, clue_stride=4, clues_per_direction=3)


class Strip:
    """A clip whose left half is bright, with light 2; frame t has moved to the left by t pixels, known or not."""

    def __init__(self, known=True, still=False):
        self.known, self.still = known, still

    def planes(self, times, placement):
        light = np.full((SIZE, SIZE, 3), 0.1, np.float32)
        light[:, : SIZE // 2] = 2
        return placement(light)[None]

    def homographies(self, times, placement):
        shifts = [np.array([[1, 0, -t], [0, 1, 0], [0, 0, 1.0]]) for t in times]
        return np.stack([placement.matrix @ m if self.known else np.full((3, 3), np.nan) for m in shifts])


def walk(t):
    """Frames from 20 on are two stops darker."""
    return -2.0 if t >= 20 else 0.0


@pytest.mark.parametrize("still", [False, True])
def test_look_counts_what_is_clipped_and_shown(still):
    """Of the left 32 of 64 columns, a frame that has moved by 24 columns shows the last 8: four columns of the grid."""
    crop = Placement(SIZE, SIZE)
    view = look(Strip(still=still), walk, crop, 0, [4, 24, 40])
    assert (view.points, view.clipped.sum()) == (POINTS**2, POINTS**2 // 2)
    assert view.shown.sum(1).tolist() == [0, 4 * POINTS, 0]  # clipped too; shown in part; out of sight
    assert view.clipped_share == 0.5
    assert view.shown_share == pytest.approx(4 / 16)
    assert look(Strip(known=False), walk, crop, 0, [40]).shown_share == 1  # taken to stand still


def test_look_counts_within_the_crop():
    """A crop of the middle columns 16 to 47, turned and mirrored: 16 of them are bright, and 8 leave the crop."""
    crop = Placement(SIZE, SIZE // 2, x=16, y=10, across=True, turns=1)
    view = look(Strip(), walk, crop, 12, [20])
    assert (view.points, view.clipped.sum()) == (16**2, 16 * 8)
    assert view.shown.sum() == 16 * 4


def test_the_references_that_show_most_of_what_is_missing():
    clipped = np.array([True, True, True, True, False])
    shown = np.array([[0, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0]], bool)
    assert choose(View(clipped, shown, 5), [10, 20, 30, 40], 3) == [20, 30]
    assert choose(View(clipped, shown[:0], 5), [], 3) == []


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_fake_panoramas(tmp_path_factory.mktemp("panoramas"), 3)


def module(root, **options):
    sizes = {"size": 32, "crop_size": 24, "frames": 40, "num_workers": 0, "val_clips": 1, "ev_range": (0, 4)}
    data = LongSequences(str(root), schedule=SCHEDULE, **sizes | options)
    data.setup("fit")
    return data


def test_aimed_samples_show_more(root, capsys):
    blind = module(root)
    assert "references show" not in capsys.readouterr().out
    aimed = module(root, aim=Aim(tries=4, clipped=0.1, shown=1, by_show=1))
    assert "of what training samples clip" in capsys.readouterr().out
    assert aimed.shown_share(8) > 1.3 * blind.shown_share(8)
    dataset = aimed.train_dataloader().dataset
    for index in range(2):
        sample = dataset[(1, index)]
        used = sample["references"][0, sample["reference_mask"][0]]
        distance = (sample["time"][used] - sample["time"][0]).abs()
        assert used.tolist() == [*range(1, len(used) + 1)]
        assert (distance.diff() >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("by_show", [0, 1])
def test_references_are_at_the_strides_but_for_the_share_that_is_chosen_by_show(root, by_show):
    dataset = module(root, aim=Aim(tries=4, clipped=0.1, shown=1 - by_show, by_show=by_show)).train_dataloader().dataset
    distances = []
    for index in range(16):
        plan = dataset._draw(*divmod(index, len(dataset)))[3]
        distances += (plan.times[plan.references[plan.reference_mask]] - plan.times[0]).tolist()
    off_stride = [d for d in distances if d % SCHEDULE.clue_stride]
    assert distances
    assert bool(off_stride) == bool(by_show)


@pytest.mark.slow
def test_crops_are_chosen_by_what_they_clip(root):
    shares = []
    for aim in (Aim(tries=4), Aim(tries=4, clipped=1)):
        dataset = module(root, aim=aim).train_dataloader().dataset
        shares.append(np.mean([dataset.view(*divmod(i, len(dataset))).clipped_share for i in range(8)]))
    assert shares[1] > 1.1 * shares[0] > 0


@pytest.mark.parametrize(("numbers", "message"), [({"tries": 0}, "tries is 0"), ({"shown": 2}, "shown is 2")])
def test_numbers_that_are_no_share(numbers, message):
    with pytest.raises(ValueError, match=message):
        Aim(**numbers)


def test_windows_are_drawn_blindly(root):
    with pytest.raises(ValueError, match="windows are drawn blindly"):
        LongSequences(str(root), sampling="window", aim=Aim(tries=2))
