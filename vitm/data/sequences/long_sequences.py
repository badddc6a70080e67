"""VITM-TC's data: long LDR clips whose exposure changes, and the linear HDR light of every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vitm.console import console
from vitm.data.demo.cache import kept
from vitm.data.demo.panoramas import write_demo_panoramas
from vitm.data.filming.motion import Placement, film_still
from vitm.data.filming.walk import Walk
from vitm.data.module import ResumableDataModule, check_least
from vitm.data.sampling import StreamLoader
from vitm.data.sequences.aim import ENOUGH, Aim, View, choose, look
from vitm.data.sequences.clue_schedule import ClueSchedule, Plan
from vitm.data.sequences.exposure import expose, exposure_walk
from vitm.data.sequences.folders import Kind, find_clips, kind_of, merge_stills
from vitm.data.sequences.long_clip import LongClip
from vitm.data.sequences.source import Source, Take
from vitm.data.splits import Split
from vitm.files import digest
from vitm.ops.copies import copied_to

Sampling = Literal["references", "window"]
ON_HOST = ("time", "homography", "window", "keys", "key_mask", "references", "reference_mask")  # of a training batch
SEARCH_STEP = 3  # frames from one frame that may be chosen by what it shows to the next


class SequenceDataset(Dataset[dict[str, Any]]):
    """Training samples before the device films and exposes them; each depends on (seed, epoch, index) alone.

    Args:
        clips: The clips, as `find_clips` returns them.
        schedule: The frames that make a sample.
        sampling: A key with references, or a window with keys around it.
        size: Side of the resized frames, in pixels.
        crop_size: Side of the crops.
        frames: Length of clips that do not move by themselves.
        ev_range: Least and largest exposure in stops.
        flips: Mirror, each way with probability 1/2.
        rotations: Turn by a random multiple of 90 degrees.
        seed: Seed of everything that is drawn.
        aim: What samples have to show; for `references` only.
    """

    def __init__(
        self,
        clips: Sequence[Source],
        *,
        schedule: ClueSchedule,
        sampling: Sampling,
        size: int,
        crop_size: int,
        frames: int,
        ev_range: tuple[float, float],
        flips: bool,
        rotations: bool,
        seed: int,
        aim: Aim = Aim(),  # noqa: B008  # frozen
    ) -> None:
        self.aim = aim
        self.clips, self.schedule, self.sampling = clips, schedule, sampling
        self.size, self.crop_size, self.frames, self.ev_range = size, crop_size, frames, ev_range
        self.flips, self.rotations, self.seed = flips, rotations, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index` of `epoch`, for a key (epoch, index); a bare index is epoch 0's.

        The keys of `SequenceSample` without `ldr` and `linear`, and what the device makes them of: `planes`, linear at
        0 EV, (N, 3, H, W), or (1, 3, side, side) if it is a `still` that the device films.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        source, take, walk, plan, placement = self._draw(epoch, index)
        times = plan.times.tolist()
        planes = np.ascontiguousarray(rearrange(take.planes(times, placement), "n h w c -> n c h w"))
        return {
            "planes": torch.from_numpy(planes),
            "still": take.still,
            "ev": torch.tensor([float(walk(t)) for t in times]),
            "time": torch.from_numpy(plan.times),
            "homography": torch.from_numpy(take.homographies(times, placement)).float(),
            "window": torch.from_numpy(plan.window),
            "keys": torch.from_numpy(plan.keys),
            "key_mask": torch.from_numpy(plan.key_mask),
            "references": torch.from_numpy(plan.references),
            "reference_mask": torch.from_numpy(plan.reference_mask),
            "name": source.name,
        }

    def view(self, epoch: int, index: int) -> View:
        """Return what the references of a sample show of its first key."""
        _, take, walk, plan, placement = self._draw(epoch, index)
        return look(take, walk, placement, *_first_key(plan))

    def _draw(self, epoch: int, index: int) -> tuple[Source, Take, Walk, Plan, Placement]:
        source = self.clips[index]
        rng = np.random.default_rng((self.seed, epoch, index))
        take = source.take((self.seed, epoch, index, 0), self.size, self.frames)
        walk = exposure_walk((self.seed, epoch, index, 1), self.ev_range)
        if self.aim.tries == 1:
            return source, take, walk, *self._candidate(rng, source)
        return source, take, walk, *self._aimed(rng, source, take, walk)

    def _candidate(self, rng: np.random.Generator, source: Source) -> tuple[Plan, Placement]:
        draw = self.schedule.draw_key if self.sampling == "references" else self.schedule.draw_window
        plan = draw(rng, source.length(self.frames))
        return plan, Placement.draw(rng, self.size, self.crop_size, flips=self.flips, rotations=self.rotations)

    def _aimed(self, rng: np.random.Generator, source: Source, take: Take, walk: Walk) -> tuple[Plan, Placement]:
        """Return the first draw that shows what is asked for, or else the best; references from near to far."""
        aim, best = self.aim, (-1.0, -1.0)
        by_show, shown = rng.random(2) < (aim.by_show, aim.shown)
        enough = ENOUGH if shown and self.schedule.references else 0.0
        for _ in range(aim.tries):
            plan, placement = self._candidate(rng, source)
            key, references = _first_key(plan)
            if enough and not references:
                continue
            if by_show:
                around = self.schedule.around(key, source.length(self.frames))
                others = [
                    t for t in range(min(around, default=0), max(around, default=-1) + 1, SEARCH_STEP) if t != key
                ]
                view = look(take, walk, placement, key, others)
                references = choose(view, others, len(references)) or references
            references = sorted(references, key=lambda t: abs(t - key))
            view = look(take, walk, placement, key, references)
            score = min(view.clipped_share, aim.clipped), min(view.shown_share, enough)
            if score > best:
                best, chosen = score, (self.schedule.key_with(key, references), placement)
            if score == (aim.clipped, enough):
                break
        return chosen if best[0] >= 0 else self._candidate(rng, source)


def _first_key(plan: Plan) -> tuple[int, list[int]]:
    """Return the time of a plan's first key, and those of its references."""
    references = plan.references[0][plan.reference_mask[0]]
    return int(plan.times[plan.keys[0]]), plan.times[references].tolist()


class LongClipDataset(Dataset[LongClip]):
    """Whole clips; each is opened when it is asked for."""

    def __init__(self, clips: Sequence[Source], opened: Callable[[Source], LongClip]) -> None:
        self.clips, self.opened = clips, opened

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> LongClip:
        return self.opened(self.clips[index])


class LongSequences(ResumableDataModule):
    """Clips of VITM-TC: training samples of a few frames out of 181, and whole clips, frame by frame, to evaluate on.

    A training batch is a `SequenceBatch`. Videos (REDS, EXR sequences) keep their own motion; stills (SICE) are filmed
    by a shaking camera on the device, panoramas by a turning one, and their flow is known exactly (`homography_flow`).
    Every clip gets a smooth exposure walk (`exposure_walk`), clips at 1 and is quantised to 8 bits (eq. 14); light of
    unknown scale is first brought to 0 EV (`base_gain`). All draws are made with the sample; filming, exposure and
    quantisation run on the device. Samples depend on (seed, epoch, index) alone, not on the number of workers or
    processes, and a resumed run goes on with the next batch. A validation or test batch is one `LongClip`.

    Bad input is found in `setup`, before any work, and named: frames of changing size or with a missing number, a stack
    with a single exposure or without common well exposed pixels, a clip that is all black, or all clipped where it
    comes in 8 bits. A clip of one frame trains with `sampling="references"`, without references; `window` refuses clips
    of fewer frames than a window.

    Args:
        root: Data folder, or several whose clips are joined, such as REDS and SICE; see `vitm.data.sequences.folders`.
        source: Kind of data that `root` holds; `auto` looks.
        sampling: `references` for ICAM: a key with temporal clues; `window` for FCPM: consecutive frames, the keys
            around them, and the clues of these.
        schedule: The frames that these are, and how many.
        size: Side that frames are resized to, whatever their aspect, in pixels.
        crop_size: Side of the training crops.
        batch_size: Training samples in a batch of one process.
        num_workers: Processes that decode and film, for each loader.
        frames: Length of clips that do not move by themselves; 181 has every reference of its middle frame.
        ev_range: Least and largest exposure in stops.
        flips: Mirror crops left to right and top to bottom, each with probability 1/2.
        rotations: Turn crops by a random multiple of 90 degrees.
        aim: What training samples with `references` have to show; the share of what is clipped that their references
            show is printed when training starts, see `shown_share`.
        val_clips: Clips to validate on, evenly spread: of the folder for validation where there is one, else held out
            of training, for validation and test. 0 is no validation.
        eval_frames: Number of frames of a clip, from the first on, that are evaluated; null is all.
        **common: The other options of `ResumableDataModule`.
    """

    def __init__(
        self,
        root: str | list[str],
        source: Kind = "auto",
        *,
        sampling: Sampling = "references",
        schedule: ClueSchedule = ClueSchedule(),  # noqa: B008  # frozen
        size: int = 512,
        crop_size: int = 384,
        batch_size: int = 4,
        num_workers: int = 4,
        frames: int = 181,
        ev_range: tuple[float, float] = (0.0, 2.5),
        flips: bool = True,
        rotations: bool = True,
        aim: Aim = Aim(),  # noqa: B008  # frozen
        val_clips: int = 8,
        eval_frames: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, **common)
        check_least(
            size=(size, 16),
            crop_size=(crop_size, 1),
            frames=(frames, 1),
            val_clips=(val_clips, 0),
            eval_frames=(eval_frames, 1),
        )
        if crop_size > size:
            raise ValueError(f"crop_size is {crop_size}, size {size}; expected a crop_size of at most {size}")
        if not ev_range[0] <= ev_range[1]:
            raise ValueError(f"ev_range is {ev_range}; expected the least exposure, then the largest, in stops")
        if sampling not in ("references", "window"):
            raise ValueError(f"sampling is '{sampling}'; expected references or window")
        self.root, self.roots = root, [Path(r) for r in ([root] if isinstance(root, str) else root)]
        self.source, self.sampling, self.schedule = source, sampling, schedule
        self.size, self.crop_size = size, crop_size
        self.frames, self.ev_range = frames, (float(ev_range[0]), float(ev_range[1]))
        self.flips, self.rotations, self.aim = flips, rotations, aim
        if aim.tries > 1 and sampling != "references":
            raise ValueError(f"aim.tries is {aim.tries}, sampling {sampling}; windows are drawn blindly: expected 1")
        self.val_clips, self.eval_frames = val_clips, eval_frames
        self._clips: dict[Split, list[Source]] = {}

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of the demo data: panoramas of furnished rooms."""
        return kept("demo_sequences", write_demo_panoramas)

    def prepare_data(self) -> None:
        """Merge SICE's stacks of exposures, where that is not done yet."""
        for root in self.roots:
            merge_stills(root, self.source, self.num_workers)

    def setup(self, stage: str) -> None:
        """Find and check the clips that `stage` needs.

        Without a trainer, which calls `prepare_data` on one process and lets the others wait, it also does its work.
        """
        if not self.trainer:
            self.prepare_data()
        needed: dict[str, set[Split]] = {"fit": {"train", "val"}, "validate": {"val"}, "test": {"test"}}
        if stage not in needed:
            raise ValueError(f"stage is '{stage}'; expected one of {', '.join(needed)}")
        for split in sorted(needed[stage] - self._clips.keys()):
            clips = self.find(split)
            if split == "train":
                self._check_length(clips)
            if self._rank_world()[0] == 0:
                for clip in clips:
                    clip.check()
            self._clips[split] = clips
            if split == "train" and self.aim.tries > 1 and self._rank_world()[0] == 0:
                console().print(f"references show {self.shown_share():.0%} of what training samples clip")

    def find(self, split: Split) -> list[Source]:
        """Return the clips of a split, of all roots; raise ValueError if two have one name."""
        clips = [clip for root in self.roots for clip in self.clips(root, split)]
        names = [clip.name for clip in clips]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two clips of the '{split}' split are called {min(twice)}: rename one")
        return clips

    def clips(self, root: Path, split: Split) -> list[Source]:
        """Return the clips of a split in one root; a data set of another kind overrides this."""
        return find_clips(root, split, kind_of(root, self.source), self.val_clips)

    def pictures(self, stage: Literal["val", "test"]) -> list[str]:
        """Return what identifies the clips that a stage measures, by what they say of themselves inside their roots."""
        marks = [repr(clip) for clip in self._clips.get(stage, ())]
        for root in self.roots:
            marks = [mark.replace(str(root), "") for mark in marks]
        return sorted(digest(mark)[:16] for mark in marks)

    def train_dataloader(self) -> StreamLoader:
        """Return the training stream, starting after the batches that the trainer has trained on."""
        return self._train_loader(self._train_data(), collate_fn=collate)

    def shown_share(self, samples: int = 32) -> float:
        """Return the share of what training samples clip that one of their references shows, after `setup("fit")`.

        Args:
            samples: Number of samples, of the first epochs, that are looked at.
        """
        data = self._train_data()
        views = [data.view(*divmod(i, len(data))) for i in range(samples)]
        return float(sum(v.shown.any(0).sum() for v in views) / max(1, sum(v.clipped.sum() for v in views)))

    def _train_data(self) -> SequenceDataset:
        return SequenceDataset(
            self._clips["train"],
            schedule=self.schedule,
            sampling=self.sampling,
            size=self.size,
            crop_size=self.crop_size,
            frames=self.frames,
            ev_range=self.ev_range,
            flips=self.flips,
            rotations=self.rotations,
            seed=self.seed,
            aim=self.aim,
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return one `LongClip` a batch; an empty list if `val_clips` is 0."""
        return self._eval_loader("val") if self._clips["val"] else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Return one `LongClip` a batch."""
        return self._eval_loader("test")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Bring a batch to the device, but for what says where and when its frames are: by it the host decides."""
        if isinstance(batch, LongClip):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        moved = {key: value for key, value in batch.items() if key not in ON_HOST}
        return batch | super().transfer_batch_to_device(moved, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Film the stills and expose all frames, on the device that the batch is on; a `LongClip` does so itself."""
        return batch if isinstance(batch, LongClip) else expose_batch(batch, self.crop_size)

    def clip(self, source: Source) -> LongClip:
        """Return a clip as it is evaluated."""
        return LongClip(source, self.size, self.frames, seed=self.seed, ev_range=self.ev_range, limit=self.eval_frames)

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        data = LongClipDataset(self._clips[split], self.clip)
        sampler = self._eval_share(len(data), split)
        return DataLoader(data, batch_size=1, sampler=sampler, collate_fn=_the_only)

    def _check_length(self, clips: list[Source]) -> None:
        for clip in clips:
            if self.sampling == "window" and (length := clip.length(self.frames)) < self.schedule.window:
                raise ValueError(
                    f"{clip.name} has {length} frame(s); a window has {self.schedule.window}: remove the clip, or "
                    "choose a smaller schedule.window"
                )


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Collect a batch before the device's part: `planes`, `still` and `name` are lists (a still is one plane of N)."""
    lists = ("planes", "still", "name")
    return {k: [s[k] for s in samples] if k in lists else torch.stack([s[k] for s in samples]) for k in samples[0]}


def expose_batch(batch: dict[str, Any], crop_size: int) -> dict[str, Any]:
    """Turn what `collate` collected into a `SequenceBatch`, on the device of the planes."""
    frames: list[Tensor] = [
        film_still(planes[0], copied_to(planes.device, homography), crop_size) if still else planes
        for planes, still, homography in zip(batch["planes"], batch["still"], batch["homography"], strict=True)
    ]
    ldr, linear = expose(torch.stack(frames), batch["ev"])
    return {"ldr": ldr, "linear": linear} | {k: v for k, v in batch.items() if k not in ("planes", "still")}


def _the_only(clips: list[LongClip]) -> LongClip:
    return clips[0]
