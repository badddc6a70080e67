"""The training stream against a plain re-statement of it, and its share among processes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from vitm.data.sampling import EvalShare, StreamLoader, TrainStream


def batches(stream: TrainStream, n: int) -> list[list[tuple[int, int]]]:
    keys = iter(stream)
    return [list(islice(keys, stream.batch_size)) for _ in range(n)]


def test_every_epoch_is_a_permutation_and_none_is_like_another() -> None:
    keys = list(islice(iter(TrainStream(7, 2, seed=3)), 21))
    epochs = [[i for e, i in keys if e == epoch] for epoch in range(3)]
    assert [e for e, _ in keys] == [0] * 7 + [1] * 7 + [2] * 7
    assert all(sorted(order) == list(range(7)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3
    assert epochs[0] != [i for _, i in islice(iter(TrainStream(7, 2, seed=4)), 7)]


@pytest.mark.parametrize("start", [0, 1, 2, 5, 40])
def test_starts_where_training_stands(start: int) -> None:
    whole = batches(TrainStream(7, 2, seed=0), 50)
    assert batches(TrainStream(7, 2, seed=0, start=lambda: start), 10) == whole[start : start + 10]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batches_of_one(world: int) -> None:
    alone = batches(TrainStream(11, 2 * world, seed=0, start=lambda: 3), 8)
    shares = [batches(TrainStream(11, 2, seed=0, rank=r, world=world, start=lambda: 3), 8) for r in range(world)]
    together = [[key for group in zip(*parts, strict=True) for key in group] for parts in zip(*shares, strict=True)]
    assert together == alone


def test_length_is_whole_batches_and_at_least_one() -> None:
    assert [len(TrainStream(n, 2, seed=0, world=2)) for n in (1, 4, 7, 8)] == [2, 2, 2, 4]


@pytest.mark.parametrize(("size", "world"), [(7, 1), (7, 2), (2, 3), (8, 4)])
def test_evaluation_sees_each_sample_once(size: int, world: int) -> None:
    shares = [list(EvalShare(size, rank=r, world=world)) for r in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(size))
    assert [len(EvalShare(size, rank=r, world=world)) for r in range(world)] == [len(s) for s in shares]


class Keys:
    """A data set that returns its keys."""

    def __getitem__(self, key: tuple[int, int]) -> np.ndarray:
        return np.array(key)


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_goes_on_or_starts_again_at_the_place(workers: int) -> None:
    done = 0
    sampler = TrainStream(5, 2, seed=0, start=lambda: done)
    loader = StreamLoader(
        Keys(), batch_size=2, sampler=sampler, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    expected = batches(TrainStream(5, 2, seed=0), 20)

    def take(n: int) -> list[list[tuple[int, int]]]:
        return [[(int(e), int(i)) for e, i in batch] for batch in islice(iter(loader), n)]

    assert take(3) == expected[:3]
    done = 3
    stream = loader._stream
    assert take(2) == expected[3:5]
    assert loader._stream is stream
    done = 12  # as after loading a checkpoint
    assert take(2) == expected[12:14]


def test_loader_warns_of_another_stream() -> None:
    def loader(size: int) -> StreamLoader:
        return StreamLoader(Keys(), batch_size=2, sampler=TrainStream(size, 2, seed=0))

    loader(5).load_state_dict(loader(5).state_dict())
    with pytest.warns(UserWarning, match="samples was 5, is 6"):
        loader(6).load_state_dict(loader(5).state_dict())
