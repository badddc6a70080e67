"""The open benchmark's views: splits, licences, rejections, credits, and the data module that reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from skimage import data

from vitm.color import bt1886_eotf, luminance, pq_eotf
from vitm.color.midtones import level_normalised, midtone_stops
from vitm.data import open_scenes
from vitm.data.open_scenes import OpenScenes, remaster
from vitm.data.prepare.open import Views, find_photographs, find_places, prepare_open
from vitm.data.production import PRODUCTIONS, produce
from vitm.video import read_image

VIEWS = Views(count=3, width=64, height=36)


def panorama(path, peak=50.0, seed=0):
    """A sky brighter than the ground, and a small sun."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, np.pi, 64)[:, None, None]
    light = (0.2 + 0.8 * np.cos(rows / 2) ** 2) * np.ones((64, 128, 3)) * rng.uniform(0.8, 1.2, (64, 128, 1))
    light[10:14, 30:34] = peak
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), light[..., ::-1].astype(np.float32))
    return path


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources"
    for i, name in enumerate(("spree_bank", "lebombo", "kiara_1_dawn_1k", "moonless_golf", "night")):
        panorama(folder / f"{name}.hdr", seed=i)
    panorama(folder / "mine.hdr", seed=9)
    panorama(folder / "theirs.hdr", seed=10)
    panorama(folder / "flat.hdr", peak=1.0, seed=11)
    entries = [
        {"file": "mine.hdr", "licence": "CC-BY 4.0", "source": "Jane Doe"},
        {"file": "flat.hdr", "licence": "CC0", "source": "Jane Doe"},
        {"file": "theirs.hdr", "licence": "all rights reserved"},
    ]
    (folder / "manifest.json").write_text(json.dumps(entries))
    return folder


def test_places_have_their_splits_and_licences_once(sources):
    places = {place.name: place for place in find_places([sources])}
    assert "night" not in places  # a coarser copy of moonless_golf
    assert places["spree_bank"].split == "test"
    assert places["lebombo"].split == places["kiara_1_dawn"].split == "train"
    assert places["lebombo"].licence == "CC0"
    assert (places["mine"].licence, places["mine"].source) == ("CC-BY 4.0", "Jane Doe")
    with pytest.raises(FileNotFoundError, match="there is no"):
        find_places([sources / "missing"])


def test_views_are_made_credited_and_rejected_with_reasons(sources, tmp_path):
    out = tmp_path / "open"
    records = prepare_open([sources], out, VIEWS)
    assert "states" in records["theirs"]["rejected_because"] or "licence is" in records["theirs"]["rejected_because"]
    assert "SDR in truth" in records["flat"]["rejected_because"]
    files = sorted(p.name for p in (out / "test" / "hdr").glob("spree*"))
    assert files == ["spree_bank_000.png", "spree_bank_001.png", "spree_bank_002.png"]
    picture = read_image(out / "train" / "hdr" / "lebombo_000.png")
    assert (picture.shape, picture.dtype) == ((36, 64, 3), np.uint16)
    credits = (out / "ATTRIBUTION.md").read_text()
    assert "| mine | Jane Doe | CC-BY 4.0 |" in credits
    assert "theirs" not in credits
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    assert prepare_open([sources], out, VIEWS).keys() == records.keys()
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}


def test_levels_are_those_of_sdr_at_203_nits(rng):
    nits = torch.rand(3, 32, 48, generator=rng) ** 3 * 600
    sdr = produce(nits, PRODUCTIONS["reinhard"])
    target = level_normalised(torch.rand(3, 32, 48, generator=rng) * 0.2 + 0.4, sdr)
    assert abs(float(midtone_stops(target, sdr).median())) < 1e-3
    same = pq_eotf(level_normalised(torch.full((3, 4, 4), 0.3), torch.full((3, 4, 4), 0.5)))
    assert float(luminance(same)[0, 0, 0]) == pytest.approx(203 * float(bt1886_eotf(torch.tensor(0.5))), rel=1e-3)


def test_masters_stay_below_their_peak():
    nits = torch.tensor([1.0, 100.0, 600.0, 5000.0]).view(1, 4, 1).expand(3, 4, 1)
    other = remaster(nits, 2.0, 1000.0, 0.5)
    assert float(other.max()) <= 1000
    torch.testing.assert_close(other[:, :2], 2 * nits[:, :2])
    assert (other.diff(dim=1) > 0).all()


@pytest.fixture
def module(sources, tmp_path):
    prepare_open([sources], tmp_path / "open", VIEWS)
    module = OpenScenes(str(tmp_path / "open"), batch_size=4, val_views=3, test_views=2)
    module.setup("fit")
    return module


@pytest.mark.slow
def test_samples_depend_on_their_place_alone(module):
    def batches(count):
        loader = iter(module.train_dataloader())
        return [module.on_after_batch_transfer(next(loader), 0) for _ in range(count)]

    first, again = batches(2), batches(2)
    for a, b in zip(first, again, strict=True):
        assert a["name"] == b["name"]
        torch.testing.assert_close(a["sdr"], b["sdr"], rtol=0, atol=0)
        torch.testing.assert_close(a["hdr_pq"], b["hdr_pq"], rtol=0, atol=0)
    assert not torch.equal(first[0]["sdr"], first[1]["sdr"])
    codes = first[0]["sdr"] * 255
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
    for sdr, hdr in zip(first[0]["sdr"], first[0]["hdr_pq"], strict=True):
        if len(stops := midtone_stops(hdr, sdr)) > 100:
            assert abs(float(stops.median())) < 0.1


@pytest.mark.slow
def test_places_are_mixed_and_plain_productions_are_as_they_are(module, monkeypatch):
    """Samples repeat, with other light than their view's; none has a random production when all are plain."""
    module.fixed_share, module.mixed_places = 1.0, True
    monkeypatch.setattr("vitm.data.open_scenes.random_production", None)
    plain = []
    monkeypatch.setattr(
        "vitm.data.open_scenes.produce", lambda nits, p, *rest: plain.append(p) or produce(nits, p, *rest)
    )
    first, again = (module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0) for _ in range(2))
    torch.testing.assert_close(first["sdr"], again["sdr"], rtol=0, atol=0)
    assert {*plain} <= {*PRODUCTIONS.values()}
    assert len({*plain}) > 1
    module.mixed_places = False
    unmixed = module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0)
    assert not torch.equal(unmixed["hdr_pq"], first["hdr_pq"])
    with pytest.raises(ValueError, match="fixed_share from 0 to 1"):
        OpenScenes("nowhere", fixed_share=1.5)


def test_photographs_become_hdr_of_their_colours_for_training_alone(sources, tmp_path):
    photographs, out = tmp_path / "photographs", tmp_path / "open"
    photographs.mkdir()
    code = np.full((80, 120, 3), 40, np.uint8)
    code[:, 60:] = (230, 120, 40)
    for name in ("mine.jpg", "theirs.png", "tiny.png"):
        iio.imwrite(photographs / name, code[:20] if name == "tiny.png" else code)
    entries = [{"file": name, "licence": "CC-BY 4.0", "source": "Jane Doe"} for name in ("mine.jpg", "tiny.png")]
    (photographs / "manifest.json").write_text(json.dumps(entries))
    views = Views(count=12, width=64, height=36)
    records = prepare_open([sources / "lebombo.hdr"], out, views, photographs=[photographs])
    assert "licence" in records["theirs"]["rejected_because"]
    assert "smaller than a view" in records["tiny"]["rejected_because"]
    assert records["mine"]["split"] == "train"
    assert "| mine | Jane Doe | CC-BY 4.0 |" in (out / "ATTRIBUTION.md").read_text()
    files = sorted((out / "train" / "hdr").glob("mine_*.png"))
    assert len(files) == 6  # half as many as of a place
    pictures = torch.stack([torch.from_numpy(read_image(f).astype(np.float32) / 65535) for f in files])
    nits = pq_eotf(pictures.permute(0, 3, 1, 2))
    grey = luminance(nits).log().mean((1, 2, 3)).exp()
    torch.testing.assert_close(grey, torch.full((6,), views.grey_nits), rtol=0.02, atol=0)
    dark, orange = (luminance(nits[..., column, None]).flatten(1).median(1).values for column in (0, -1))
    ratio = orange / dark
    assert ratio.min() > 4  # the orange half is brighter in light than in code
    assert len(ratio.round(decimals=1).unique()) > 2  # by several operators and peaks
    with pytest.raises(FileNotFoundError, match="no photograph in"):
        prepare_open([sources], tmp_path / "other", views, photographs=[out])
    iio.imwrite(photographs / "lebombo.png", code)
    with pytest.raises(ValueError, match="several sources are named lebombo"):
        prepare_open([sources / "lebombo.hdr"], tmp_path / "other", views, photographs=[photographs])


def test_photographs_are_known_by_their_content(tmp_path):
    """NASA's picture, whatever it is called; and no other one that has its name."""
    iio.imwrite(tmp_path / "astronaut.png", np.zeros((64, 64, 3), np.uint8))
    shutil.copy(Path(data.__file__).with_name("astronaut.png"), tmp_path / "portrait.png")
    other, known = find_photographs([tmp_path])
    assert (other.name, other.licence) == ("astronaut", "")
    assert (known.name, known.licence, known.source) == ("portrait", "public domain", "NASA, scikit-image")


def test_other_material_repeats_and_is_graded_light(module):
    """Samples repeat; their light is not the view's, and is finite; their SDR is of 8 bits."""
    plain = module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0)
    module.other_material = True
    first, again = (module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0) for _ in range(2))
    assert all(torch.equal(first[side], again[side]) for side in ("sdr", "hdr_pq"))
    assert first["hdr_pq"].shape == plain["hdr_pq"].shape
    assert not torch.equal(first["hdr_pq"], plain["hdr_pq"])
    assert torch.isfinite(first["hdr_pq"]).all()
    assert torch.equal(first["sdr"] * 255, (first["sdr"] * 255).round())


def test_quarters_are_four_views_at_half_their_size(rng):
    views = [*torch.rand(4, 3, 8, 12, generator=rng)]
    seeds = (torch.Generator().manual_seed(i) for i in range(20))
    made = [open_scenes._in_quarters(views[0], views[1:], seed) for seed in seeds]
    assert 2 < len([x for x in made if x is not views[0]]) < 12
    one = next(x for x in made if x is not views[0])
    for view, (y, x) in zip(views, ((0, 0), (0, 6), (4, 0), (4, 6)), strict=True):
        ratio = one[:, y : y + 4, x : x + 6] / view.unflatten(1, (4, 2)).unflatten(3, (6, 2)).mean((2, 4))
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))  # each with its own gain


def test_the_test_takes_every_production(module):
    names = [batch["name"][0] for batch in module.test_dataloader()]
    assert len(names) == len(set(names)) == 2 * len(PRODUCTIONS)
    batch = module.on_after_batch_transfer(next(iter(module.val_dataloader())), 0)
    assert batch["sdr"].shape == batch["hdr_pq"].shape == (1, 3, 36, 64)
    with pytest.raises(FileNotFoundError, match="no views in"):
        OpenScenes(str(module.root / "nothing")).setup("test")
