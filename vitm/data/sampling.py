"""Which sample comes when: an endless, seeded, resumable stream for training; no repeats in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from vitm.data.workers import SteadyLoader


class TrainStream(DistributedSampler[Any]):
    """An endless stream of shuffled epochs, cut into global batches of `batch_size` x `world`.

    Yields keys (epoch, index): place s of the stream is entry s mod n of the permutation seeded with (seed, s // n), so
    a place determines its sample and, with the data set's (seed, epoch, index) generator, its augmentation. Rank r
    takes places r, r + world, r + 2 world, ...: two processes with batches of b see the batches that one process sees
    with 2b. An epoch's remainder opens the next epoch's first batch; nothing is dropped or padded.

    Convention:
        It is a `DistributedSampler` so that Lightning leaves it alone, but `set_epoch` has no effect: where the stream
        starts is asked of `start` each time it is iterated.

    Args:
        size: Number of samples n.
        batch_size: Samples in a batch of one process.
        seed: Seed of the permutations.
        rank: Number of this process.
        world: Number of processes.
        start: Function that returns the number of batches already trained on; None starts at 0.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(cast("Dataset[Any]", range(size)), num_replicas=world, rank=rank, seed=seed)
        self.size, self.batch_size = size, batch_size
        self.start = start or (lambda: 0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        place, last_epoch = self.start() * self.batch_size * self.num_replicas + self.rank, -1
        order = np.arange(self.size)
        while True:
            epoch, i = divmod(place, self.size)
            if epoch != last_epoch:
                last_epoch, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.size)
            yield epoch, int(order[i])
            place += self.num_replicas

    def __len__(self) -> int:
        """Return the samples of this process in one epoch: whole batches, at least one."""
        return max(1, self.size // (self.batch_size * self.num_replicas)) * self.batch_size


class EvalShare(DistributedSampler[int]):
    """Every world-th sample from `rank` on: over all processes each sample once; shares may differ by one."""

    def __init__(self, size: int, *, rank: int = 0, world: int = 1) -> None:
        super().__init__(cast("Dataset[int]", range(size)), num_replicas=world, rank=rank, shuffle=False)
        self._share = range(rank, size, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)


class StreamLoader(SteadyLoader):
    """A loader over a `TrainStream` that goes on where training stands.

    Iterating it again continues the running stream, with what its workers have already decoded, if the trainer has used
    exactly the batches given out so far; otherwise (a resumed run) it starts a new one at the trainer's place. With
    `state_dict` and `load_state_dict` Lightning takes it for what it is, resumable.
    """

    _stream: Iterator[Any] | None = None
    _given: int = 0

    def __iter__(self) -> Any:
        if not isinstance(self.sampler, TrainStream):  # Trainer(overfit_batches=...) puts a sequential sampler here
            return super().__iter__()
        start = self.sampler.start()
        if self._stream is None or self._given != start:
            self._stream, self._given = super().__iter__(), start
        return self._count(self._stream)

    def state_dict(self) -> dict[str, int]:
        """Return what a place in the stream depends on; the place itself is in Lightning's own counters."""
        if not isinstance(self.sampler, TrainStream):
            return {}
        s = self.sampler
        return {"samples": s.size, "global_batch": s.batch_size * s.num_replicas, "seed": s.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Warn if the resumed run's stream is another one, so that its place is not exact."""
        if changed := [
            f"{k} was {v}, is {self.state_dict()[k]}" for k, v in state.items() if self.state_dict().get(k, v) != v
        ]:
            rank_zero_warn(
                f"the training data differ from the checkpoint's ({'; '.join(changed)}): samples may be seen again"
            )

    def _count(self, stream: Iterator[Any]) -> Iterator[Any]:
        for batch in stream:
            self._given += 1
            yield batch
