"""`OpenScenes`: HDR views of real places, and SDR made of them in a random way each time they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vitm.color import luminance, pq_eotf, pq_inverse_eotf
from vitm.color.midtones import level_normalised
from vitm.data.module import ResumableDataModule, check_least
from vitm.data.production import PRODUCTIONS, Production, produce, random_production
from vitm.data.sampling import StreamLoader
from vitm.data.workers import SteadyLoader
from vitm.ops.copies import copied_to
from vitm.video import read_image

_PEAKS = (600.0, 1000.0, 1000.0, 1000.0, 2000.0, 4000.0)  # mastering peaks of real HDR, in cd/m2
_DARK_NITS = 1e-3
_GRADES = (0.25, 0.3, 0.3, 0.3, 0.4)  # deviations in stops: of all contrast, by brightness, and of saturation


def remaster(nits: Tensor, gain: float, peak_nits: float, knee: float) -> Tensor:
    """Return light as another master has it: a gain, then highlights bent below a peak.

    Args:
        nits: (..., 3, H, W), linear light in cd/m2.
        gain: factor on all light.
        peak_nits: the brightest channel afterwards.
        knee: share of the peak from which light is bent, 0 to 1.
    """
    light = gain * nits
    largest = light.amax(-3, keepdim=True) / peak_nits
    bent = knee + (1 - knee) * torch.tanh((largest - knee) / max(1 - knee, 1e-3))
    return torch.where(largest > knee, light * (bent / largest.clamp(min=1e-9)), light)


class OpenScenes(ResumableDataModule):
    """Views that `vitm prepare open` made, as HDR10 targets; the SDR is produced on the device, anew each time.

    A training sample gets its own master (level and peak), its own production (`vitm.data.production`), and a target
    whose level is normalised. It depends on (seed, epoch, index) alone. Validation takes every n-th view of the test
    places and one fixed production for each; the test takes all views, each by every fixed production. Batches are
    `FrameBatch`.

    Args:
        root: Folder with `train/hdr` and `test/hdr`: 16-bit PNG of PQ codes in BT.2020, all of one size.
        batch_size: Training samples in a batch of one process.
        num_workers: Processes that load; the pictures lie in memory, so 0 is best.
        productions: `random`: the whole family. Or the name of one production, for training on it alone.
        fixed_share: Share of the training samples of the family that one of the fixed productions is taken for, as it
            is: what programs do when nobody touches their settings.
        mixed_places: Whether training also zooms into views, puts parts of others into them, and changes their hues.
        other_material: Whether training samples are made to look like other material than views of panoramas: four
            views in one, which are sharper, grades of the light, and SDR between two productions.
        contrast: Standard deviation of the contrast of training samples, in stops. Where it is large, a picture's own
            contrast says little of its production.
        val_views: Number of views to validate on.
        test_views: Number of views to test on.
        seed: Seed of the order of the samples, of their masters and of their productions.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 32,
        num_workers: int = 0,
        productions: Literal[
            "random", "clip", "mobius", "hable", "bt2390", "filmic", "reinhard", "bt2446a", "bt2446c", "local"
        ] = "random",
        fixed_share: float = 0.0,
        mixed_places: bool = False,
        other_material: bool = False,
        contrast: float = 0.25,
        val_views: int = 54,
        test_views: int = 108,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_least(val_views=(val_views, 1), test_views=(test_views, 1))
        self.root, self.productions = Path(root), productions
        if not 0 <= fixed_share <= 1:
            raise ValueError(f"expected fixed_share from 0 to 1, got {fixed_share}")
        self.fixed_share, self.mixed_places, self.contrast = fixed_share, mixed_places, contrast
        self.other_material = other_material
        self.val_views, self.test_views = val_views, test_views
        self._sets: dict[str, _Views] = {}

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of views of the demo's rooms."""
        from vitm.data.demo.cache import kept
        from vitm.data.prepare.open import write_demo_views

        return kept("demo_views", write_demo_views)

    def setup(self, stage: str) -> None:
        """Read the views of the splits that `stage` needs into memory.

        Raises:
            FileNotFoundError: a split has no views.
            ValueError: views differ in size.
        """
        for split in {"fit": ("train", "test")}.get(stage, ("test",)):
            if split not in self._sets:
                self._sets[split] = _Views(_read(self.root / split / "hdr"), self.seed)

    def pictures(self, stage: Literal["val", "test"]) -> list[str]:
        """Return the names of the views that a stage measures; both take views of the test places."""
        views = self._sets["test"]
        return [views.names[i] for i in _spread(len(views), self.val_views if stage == "val" else self.test_views)]

    def train_dataloader(self) -> StreamLoader:
        """Return the training stream, starting after the batches that the trainer has trained on."""
        return self._train_loader(self._sets["train"])

    def val_dataloader(self) -> DataLoader[Any]:
        """Return some views of the test places, each with one of the fixed productions in turn."""
        names = tuple(PRODUCTIONS) if self.productions == "random" else (self.productions,)
        picked = _spread(len(self._sets["test"]), self.val_views)
        return self._fixed([(view, names[i % len(names)]) for i, view in enumerate(picked)], "val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return views of the test places, each with every fixed production."""
        names = tuple(PRODUCTIONS) if self.productions == "random" else (self.productions,)
        picked = _spread(len(self._sets["test"]), self.test_views)
        return self._fixed([(view, name) for view in picked for name in names], "test")

    def _fixed(self, samples: Sequence[tuple[int, str]], split: str) -> DataLoader[Any]:
        data = _Produced(self._sets["test"], samples)
        return SteadyLoader(data, batch_size=1, sampler=self._eval_share(len(data), split), **self._workers())

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the SDR of each sample, and normalise the level of its target, on the device."""
        pairs = []
        for hdr_pq, seed, name in zip(batch["hdr_pq"], batch.pop("draw"), batch["production"], strict=True):
            nits, peak = pq_eotf(hdr_pq), 1000.0
            noise = torch.Generator(hdr_pq.device).manual_seed(int(seed))
            if name:
                nits, production = remaster(nits, 1.0, peak, 0.75), PRODUCTIONS[name]
            else:
                draw = torch.Generator().manual_seed(int(seed))
                gain, knee = 2 ** (0.8 * float(torch.randn((), generator=draw))), float(torch.rand((), generator=draw))
                peak = _PEAKS[int(torch.randint(len(_PEAKS), (), generator=draw))]
                if self.mixed_places:
                    nits = _mixed_place(nits, pq_eotf(self._another(draw, nits.device)), draw)
                if self.other_material:
                    others = [pq_eotf(self._another(draw, nits.device)) for _ in range(4)]
                    nits = _zoomed(_graded(_in_quarters(nits, others[1:], draw), draw), others[0], draw)
                nits = _other_place(nits, self.contrast, draw)
                nits = remaster(nits, min(max(gain, 0.25), 3.5), peak, 0.4 + 0.6 * knee)
                production = self._production(draw)
            sdr = produce(nits, production, peak, noise)
            if self.other_material and not name and production not in PRODUCTIONS.values():
                sdr = self._between_productions(sdr, nits, peak, draw, noise)
            pairs.append((sdr, level_normalised(pq_inverse_eotf(nits), sdr, stride=1 if name else 3)))
        batch["sdr"], batch["hdr_pq"] = (torch.stack(side) for side in zip(*pairs, strict=True))
        return batch

    def _production(self, draw: torch.Generator) -> Production:
        if self.productions != "random":
            return PRODUCTIONS[self.productions]
        if self.fixed_share and float(torch.rand((), generator=draw)) < self.fixed_share:
            return [*PRODUCTIONS.values()][int(torch.randint(len(PRODUCTIONS), (), generator=draw))]
        return random_production(draw)

    def _between_productions(
        self, sdr: Tensor, nits: Tensor, peak: float, draw: torch.Generator, noise: torch.Generator
    ) -> Tensor:
        """Blend a third of the samples with another production of the same light: an operator that has no name."""
        if float(torch.rand((), generator=draw)) > 0.35:
            return sdr
        share, other = float(torch.rand((), generator=draw)), replace(random_production(draw), base_contrast=1.0)
        return (255 * torch.lerp(produce(nits, other, peak, noise), sdr, share)).round() / 255

    def _another(self, draw: torch.Generator, device: torch.device) -> Tensor:
        views = self._sets["train"]
        return copied_to(device, views.picture(int(torch.randint(len(views), (), generator=draw))))


def _mixed_place(nits: Tensor, other: Tensor, draw: torch.Generator) -> Tensor:
    """Return light of a place that does not exist: a part of a view, with a part of another one, in other hues.

    Args:
        nits: (3, H, W), linear light in cd/m2.
        other: the same shape, another view.
        draw: random numbers, on the CPU.
    """

    def uniform() -> float:
        return float(torch.rand((), generator=draw))

    if uniform() < 0.4:
        rows, columns = _window(nits, 0.45, draw)
        stops = nits[None, :, rows, columns].clamp(min=_DARK_NITS).log()
        nits = F.interpolate(stops, size=nits.shape[-2:], mode="bicubic", align_corners=False)[0].exp()
    if uniform() < 0.35:
        gain = 2 ** float(torch.randn((), generator=draw))
        rows, columns = _window(nits, 0.3, draw)
        nits = nits.clone()
        nits[:, rows, columns] = gain * other[:, rows, columns]
    if uniform() < 0.25:
        hues = torch.eye(3) + 0.25 * torch.randn(3, 3, generator=draw).clamp(-1, 1)
        hues = copied_to(nits.device, hues / hues.sum(1, keepdim=True))  # grey stays grey
        nits = torch.einsum("ij,jhw->ihw", hues, nits).clamp(min=_DARK_NITS)
    return nits


def _window(picture: Tensor, least: float, draw: torch.Generator) -> tuple[slice, slice]:
    """Draw a part of a picture (..., H, W) of its shape, whose sides are a share of its own, `least` to 1."""
    share = least + (1 - least) * float(torch.rand((), generator=draw))
    sides = [(max(1, int(share * side)), side) for side in picture.shape[-2:]]
    starts = [int(float(torch.rand((), generator=draw)) * (whole - part + 1)) for part, whole in sides]
    rows, columns = (slice(start, start + part) for start, (part, _) in zip(starts, sides, strict=True))
    return rows, columns


def _in_quarters(nits: Tensor, others: Sequence[Tensor], draw: torch.Generator) -> Tensor:
    """Return four views in one, a third of the time: half as large, they are sharper than panoramas are."""
    if float(torch.rand((), generator=draw)) > 0.3 or any(side % 2 for side in nits.shape[-2:]):
        return nits
    gains = (0.6 * torch.randn(4, generator=draw)).exp2().tolist()
    a, b, c, d = (gain * F.avg_pool2d(x, 2) for gain, x in zip(gains, (nits, *others), strict=True))
    return torch.cat((torch.cat((a, b), 2), torch.cat((c, d), 2)), 1)


def _graded(nits: Tensor, draw: torch.Generator) -> Tensor:
    """Return light as a grade may leave it: other contrasts of shadows, mid-tones and highlights, and other saturation.

    Args:
        nits: (3, H, W), linear light in cd/m2.
        draw: random numbers, on the CPU.
    """
    if float(torch.rand((), generator=draw)) < 0.3:
        return nits
    stops = luminance(nits).clamp(min=1e-4).log2()
    away = stops - stops.mean()  # mid-tones lie within two stops of it
    whole, low, middle, high, colour = (2 ** (k * float(torch.randn((), generator=draw))) for k in _GRADES)
    bent = middle * away.clamp(-2, 2) + low * (away + 2).clamp(max=0) + high * (away - 2).clamp(min=0)
    light = nits * torch.exp2(whole * bent - away)
    grey = luminance(light)
    return (grey + colour * (light - grey)).clamp(min=1e-4)


def _zoomed(nits: Tensor, other: Tensor, draw: torch.Generator) -> Tensor:
    """Return a part of a view, half of the time, and with a part of another one, a third of the time.

    Sizes change in light: so are mixtures on edges those of light, as a camera sees them.
    """
    if float(torch.rand((), generator=draw)) < 0.5:
        rows, columns = _window(nits, 0.25, draw)
        size = nits.shape[-2:]
        nits = F.interpolate(nits[None, :, rows, columns], size=size, mode="bilinear", align_corners=False)[0]
    if float(torch.rand((), generator=draw)) < 0.3:
        rows, columns = _window(nits, 0.3, draw)
        nits = nits.clone()
        nits[:, rows, columns] = 2 ** float(torch.randn((), generator=draw)) * other[:, rows, columns]
    return nits


def _other_place(nits: Tensor, deviation: float, draw: torch.Generator) -> Tensor:
    """Return the light of a place like it, with other colours and another contrast, so that none is learned by heart.

    Args:
        nits: (3, H, W), linear light in cd/m2.
        deviation: standard deviation of the contrast, in stops.
        draw: random numbers, on the CPU.
    """
    mixed = torch.eye(3) + 0.08 * torch.randn(3, 3, generator=draw)
    mixed = copied_to(nits.device, mixed / mixed.sum(1, keepdim=True))  # grey stays grey
    light = torch.einsum("ij,jhw->ihw", mixed, nits).clamp(min=1e-3)
    contrast = 2 ** (deviation * float(torch.randn((), generator=draw)))
    grey = luminance(light)
    middle = grey.log().mean().exp()
    return light * (grey / middle) ** (contrast - 1)


class _Views(Dataset[Any]):
    """HDR pictures in memory; a key (epoch, index) gives one, mirrored at random, and the seed of its production."""

    def __init__(self, views: dict[str, NDArray[np.uint16]], seed: int) -> None:
        self.names, self.pictures, self.seed = list(views), list(views.values()), seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, epoch, index))
        picture = self.picture(index)
        if rng.random() < 0.5:
            picture = picture.flip(-1)
        draw = str(rng.integers(2**31))  # words stay on the host; it would wait for numbers to come back
        return {"hdr_pq": picture, "draw": draw, "production": "", "name": self.names[index]}

    def picture(self, index: int) -> Tensor:
        """Return a picture (3, H, W), PQ code in [0, 1]."""
        codes = self.pictures[index].transpose(2, 0, 1)
        return torch.from_numpy(np.divide(codes, 65535, dtype=np.float32, order="C"))


class _Produced(Dataset[Any]):
    """Pairs of a view and a fixed production."""

    def __init__(self, views: _Views, samples: Sequence[tuple[int, str]]) -> None:
        self.views, self.samples = views, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        index, production = self.samples[i]
        name = f"{self.views.names[index]}-{production}"
        return {"hdr_pq": self.views.picture(index), "draw": str(i), "production": production, "name": name}


def _read(folder: Path) -> dict[str, NDArray[np.uint16]]:
    files = sorted(folder.rglob("*.png"))
    if not files:
        raise FileNotFoundError(f"no views in {folder}; expected 16-bit PNG files, as `vitm prepare open` makes them")
    views = {
        file.stem if file.parent == folder else f"{file.parent.name}-{file.stem}": read_image(file) for file in files
    }
    sizes = {view.shape for view in views.values()}
    if len(sizes) > 1:
        raise ValueError(f"the views in {folder} differ in size: {', '.join(map(str, sorted(sizes)))}; expected one")
    return views


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` of `count` numbers, evenly spread."""
    n = min(count, most)
    return [(2 * i + 1) * count // (2 * n) for i in range(n)]
