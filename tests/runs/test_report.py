"""A report from run folders: parsed as HTML, and opened in a real browser where there is one."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.runs.conftest import run as run_main
from vitm import cli
from vitm.runs.curves import LINE, curves_svg, ticks
from vitm.runs.record import read_record

VALUES = {"psnr": 31.23456, "ssim": 0.987654, "mse_mabd": 0.0000123}
PAPER = {"psnr": 37.2804, "ssim_kpn": 0.9811, "delta_e_itp": 9.9622}


def main(args):
    """Call `vitm report`, and return its exit status."""
    return cli.main(["report", *args])


class Page(HTMLParser):
    """What is in a page: elements by name with their attributes, and its text."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, "elements that are not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def make(tmp_path):
    """Write a run folder of an entry in the layout of `experiments.run`."""

    def write(entry="kpn_mfi/table3/no_consistency", name="run", tag="data", *, lr=5e-4, **changes):
        folder = tmp_path / "runs" / entry / name
        (folder / "previews").mkdir(parents=True)
        (folder / "csv").mkdir()
        (folder / "tags").write_text(tag)
        config = {"seed_everything": 3, "model": {"lr": lr, "name": "<b>&"}, "entry": {"title": "a title"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        with (folder / "csv/metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "step", "train/loss", "val/psnr"])
            writer.writeheader()
            for step in range(0, 500):
                writer.writerow({"step": step, "train/loss": 1 / (step + 1)})
            writer.writerow({"step": 499, "val/psnr": 29.5})
            writer.writerow({"step": 499, "val/psnr": "nan"})
        picture = np.random.default_rng(0).integers(0, 255, (40, 160, 3), np.uint8)
        cv2.imwrite(str(folder / "previews/test_0.png"), picture)
        results = {
            "entry": entry,
            "about": {"title": "MFI <script>alert(1)</script>", "table": 3, "row": "#2", "results": PAPER},
            "stage": "test",
            "values": VALUES,
            "baselines": {"hable": {"psnr": 28.3455}},
            "protocol": {"psnr": "PQ BT.2020, full frame"},
            "unlike_paper": {"delta_e_itp": "on other frames"},
            "parameters": 76735,
            "macs": None,
            "steps": 1600,
            "checkpoint": None,
            "device": "abacus",
            "fit_seconds": 316.2,
            "wall_seconds": 340.6,
            "versions": {"torch": "9.9"},
        } | changes
        (folder / "metrics.json").write_text(json.dumps(results))
        return folder

    return write


def report(tmp_path, *folders):
    output = tmp_path / "report.html"
    assert main([*map(str, folders), "--output", str(output)]) == 0
    text = output.read_text(encoding="utf-8")
    return Page(text), text


def test_a_page_holds_all_numbers_and_loads_nothing(make, tmp_path):
    other = {k: v + 1 for k, v in VALUES.items()}
    page, text = report(tmp_path, make(), make(name="second", values=other, lr=1e-3))
    for shown in ("31.2346", "0.9877", "1.23e-05", "32.2346", "1.9877", "1.0000", "37.2804", "0.9811", "28.3455"):
        assert shown in page.text
    assert "A - paper-6.0458" in page.text
    assert "9.9622" not in page.text  # measured otherwise
    assert "delta_e_itp of the paper is left out: it was measured otherwise (on other frames)" in page.text
    for word in (
        "0.0767 M parameters",
        "abacus",
        "torch 9.9",
        "training 316 s, in all 341 s",
        "PQ BT.2020, full frame",
    ):
        assert word in page.text
    sources = [v for _, attributes in page.elements for k, v in attributes.items() if k in ("src", "href", "data")]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not page.all("script")


def test_previews_are_pictures_with_a_description(make, tmp_path):
    page, _ = report(tmp_path, make())
    (image,) = page.all("img")
    assert "prediction" in image["alt"]
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (40, 160, 3)


def test_what_is_written_in_a_run_is_text_and_not_markup(make, tmp_path):
    page, text = report(tmp_path, make())
    assert "MFI <script>alert(1)</script>" in page.text
    assert "<script" not in text
    assert html.escape("<b>&") in text


def test_it_can_be_read_by_all(make, tmp_path):
    """Language, a viewport, one first heading, headings in order, names of regions, tables with headers."""
    page, _ = report(tmp_path, make(), make(name="second"))
    assert page.all("html")[0]["lang"] == "en"
    assert any("width=device-width" in meta.get("content", "") for meta in page.all("meta"))
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(th.get("scope") for th in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert all(div["aria-label"] for div in page.all("div") if div.get("role") == "region")
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert {link["href"] for link in page.all("a")} == {f"#{name}" for name in names}


def test_runs_are_told_apart_by_what_differs(make, tmp_path):
    page, _ = report(tmp_path, make(), make(name="second", lr=1e-3))
    start = page.text.index("What differs")
    assert "model.lr0.00050.001" in page.text[start : start + 200]
    page, _ = report(tmp_path, make(name="third"), make(name="fourth"))
    assert "All runs have the same configuration" in page.text


def test_an_option_that_changed_during_a_run_has_all_its_values(make, tmp_path):
    folder = make()
    (folder / "overrides.yaml").write_text(yaml.safe_dump({"model": {"lr": {0: 5e-4, 120: 1e-4}}}))
    page, _ = report(tmp_path, folder, make(name="second"))
    start = page.text.index("What differs")
    assert "model.lr0.0005, from step 120 on 0.00010.0005" in page.text[start : start + 200]


def test_unfinished_runs_are_shown_as_such(make, tmp_path):
    folder = make()
    (folder / "metrics.json").unlink()
    with (folder / "csv/metrics.csv").open("a") as file:
        file.write(",50")  # being written
    page, _ = report(tmp_path, folder)
    assert "not finished; the log ends at step 499" in page.text
    assert "No run has been measured yet" in page.text
    shutil.rmtree(folder / "csv")
    page, _ = report(tmp_path, folder, make(name="trained", stage="fit", values={}))
    assert "trained, not measured" in page.text
    page, _ = report(tmp_path, make(name="on demo data", tag="demo"))
    assert "Numbers on demo data do not compare" in page.text
    assert "A - paper" not in page.text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", "[]1"),
        ("metrics.json", '{"stage": "dance"}'),
        ("config.yaml", "a: [1"),
        ("config.yaml", "word"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(file, content, make, tmp_path, capsys):
    folder = make()
    (folder / file).write_text(content)
    output = tmp_path / "report.html"
    output.write_text("an earlier one")
    assert main([str(folder), "--output", str(output)]) == 2
    assert "damaged config.yaml or metrics.json" in capsys.readouterr().out
    assert output.read_text() == "an earlier one"


def test_other_folders_are_refused(make, tmp_path, capsys):
    inside = make()
    assert main([str(tmp_path / "runs")]) == 2
    assert str(inside) in capsys.readouterr().out.replace("\n", "")
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is no run folder" in capsys.readouterr().out
    assert main([str(inside), "--output", str(tmp_path / "no/folder/x.html")]) == 2
    assert "there is no folder" in capsys.readouterr().out


def test_folders_without_a_run_are_left_out_of_several(make, tmp_path, capsys):
    """As `runs/kpn_mfi/*/` has the folders of the entry's tables too."""
    run, table = make("kpn_mfi"), make().parents[1]
    page, _ = report(tmp_path, table, run)
    assert f"{table} is left out" in capsys.readouterr().out.replace("\n", "")
    assert str(run) in page.text
    assert main([str(table), str(tmp_path), "--output", str(tmp_path / "none.html")]) == 2
    assert not (tmp_path / "none.html").exists()


def lines(svg, style):
    """The points of each line in the colour of a style, from the left."""
    paths = [path for path in Page(svg).all("path") if f"stroke: var(--{style})" in path["style"]]
    points = [[tuple(map(float, point.split())) for point in re.split("[ML]", path["d"])[1:]] for path in paths]
    return [line for line in points if len(set(line)) > 1]


def test_curves_show_the_values_at_their_places():
    svg = curves_svg("loss", {"A": [(0, 10.0), (50, 5.0), (100, 0.0)], "B": [(100, float("nan"))]}, {"A": 1, "B": 2})
    (((x0, y0), (x1, y1), (x2, y2)),) = lines(svg, "s1")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.11)
    assert x0 < x2
    assert y0 < y2  # downwards
    assert not lines(svg, "s2")
    assert "A, step 50: 5" in Page(svg).text
    assert curves_svg("loss", {"A": [(0, float("inf"))]}, {"A": 0}) == ""


def test_a_curve_over_decades_is_logarithmic_and_long_ones_are_averaged():
    curve = [(step, 10.0 ** (-step / 250)) for step in range(1000)]
    (points,) = lines(curves_svg("loss", {"A": curve}, {"A": 0}), "s0")
    assert len(points) <= 240
    slopes = np.diff([y for _, y in points]) / np.diff([x for x, _ in points])
    assert np.ptp(slopes[:-1]) < 0.2 * abs(slopes.mean())
    (flat,) = lines(curves_svg("lr", {"A": curve}, {"A": 0}, log=False), "s0")
    assert flat != points


def test_the_same_curves_are_the_same_text_without_identifiers():
    curves = {"A": [(0, 1.0), (1, 2.0)], "$<&'\"B$": [(0, 2.0), (1, 1.0)]}
    svg = curves_svg("a < b", curves, {"A": 0, "$<&'\"B$": 9})
    assert svg == curves_svg("a < b", curves, {"A": 0, "$<&'\"B$": 9})
    assert " id=" not in svg
    assert "$<&'\"B$, step 0: 2" in Page(svg).text


@pytest.mark.parametrize("ends", [(1, 1, 1, 1), (1, 1.04, 1.08, 1.12, 1.16, 1.2), (1, 2, 3), (1, 1.01, 5), range(9)])
def test_labels_stay_at_the_ends_of_their_lines_and_apart(ends):
    """A name is no further from its line than a label is high, and labels do not overlap."""
    names = [chr(ord("A") + i) for i in range(len(ends))]
    svg = curves_svg(
        "loss", {n: [(0, 0.0), (9, end)] for n, end in zip(names, ends, strict=True)}, dict.fromkeys(names, 0)
    )
    labels = re.findall(r'font-weight: 700[^>]* x="([\d.]+)" y="([\d.]+)">([A-Z]|\+\d)', svg)
    heights = {name: float(y) - 4 for _, y, name in labels}
    at_ends = dict(zip(names, [line[-1] for line in lines(svg, "s0")], strict=True))
    assert set(names) - set(heights) == set() or "+" in "".join(heights)
    assert all(abs(heights[n] - at_ends[n][1]) <= LINE for n in names if n in heights)
    rows = sorted(set(heights.values()))
    assert all(b - a >= LINE - 0.2 for a, b in pairwise(rows))
    places = [(x, y) for x, y, _ in labels]
    assert len(set(places)) == len(places)


def test_matplotlib_is_named_where_it_is_missing(make, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([str(make()), "--output", str(tmp_path / "report.html")]) == 2
    assert "pip install 'vitm[plots]'" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.0146, 0.0154), (26, 29.7), (-3, 1e6), (5, 5), (0, 0)])
def test_ticks_are_few_and_enclose_the_values(low, high):
    found = ticks(low, high, 4)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    assert np.allclose(np.diff(found), found[1] - found[0])


def test_operators_stand_once_below_the_runs_that_share_their_frames(make, tmp_path):
    other = {"hable": {"psnr": 27.5}}
    page, _ = report(tmp_path, make(), make(name="second"))
    assert page.text.count("hable28.3455") == 1
    page, _ = report(tmp_path, make(name="third"), make(name="fourth", baselines=other))
    assert "A hable28.3455" in page.text
    assert "B hable27.5000" in page.text


def test_other_options_than_the_entrys_are_shown(make, tmp_path):
    folder = make()
    page, _ = report(tmp_path, folder)
    assert "entry's" not in page.text  # of an older run
    (folder / "overrides.yaml").write_text("model: {lr: 0.002}")
    page, _ = report(tmp_path, folder)
    assert "finished; other options than its entry's: model.lr 0.002" in page.text
    (folder / "overrides.yaml").write_text("{}")
    page, _ = report(tmp_path, folder)
    assert "finished; all options as its entry's" in page.text


def test_papers_are_compared_within_themselves(make, tmp_path):
    """Runs of another paper have a part of their own, and options that only one network has are no difference."""
    first, second = make("kpn_mfi"), make("hdcfm", lr=1e-3)
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["model"]["classes"] = 7
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    page, _ = report(tmp_path, first, second)
    assert "What differs" not in page.text
    third = make("kpn_mfi", name="third", lr=2e-3)
    (third / "config.yaml").write_text(yaml.safe_dump(config | {"seed_everything": 4}))
    page, _ = report(tmp_path, first, third, second)
    start = page.text.index("What differs")
    end = page.text.index("Results", start)
    assert "seed_everything34" in page.text[start:end]
    assert "classes" not in page.text[start:end]


@pytest.mark.slow
def test_a_real_run_is_read(tiny, tmp_path):
    assert run_main(["kpn_mfi", *tiny, "--trainer.max_steps", "2", "--model.test_metrics", "[psnr, mabd]"]) == 0
    (folder,) = (tmp_path / "runs/kpn_mfi").glob("*/")
    run = read_record(folder, "A")
    assert len(run.curves["train/loss"]) == 2
    assert run.state == "finished"
    page, _ = report(tmp_path, folder)
    results = json.loads((folder / "metrics.json").read_text())
    for values in (results["values"], *results["baselines"].values()):
        for value in values.values():
            assert (f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2e}") in page.text
    assert len(page.all("img")) == len(list(folder.glob("previews/test_*.png")))


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome")
@pytest.mark.parametrize("width", [1280, 500])  # its window is not narrower than 500
def test_a_browser_shows_it_without_errors_or_requests(width, make, tmp_path):
    """The network is cut off, the log has no complaint, and what is drawn has the pictures and lines in colour."""
    output = tmp_path / "report.html"
    assert main([str(make()), str(make(name="second")), "--output", str(output)]) == 0
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars"),
        *(f"--window-size={width},2400", f"--screenshot={tmp_path / 'page.png'}", output.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    picture = cv2.imread(str(Path(tmp_path / "page.png")))
    assert picture.shape[:2] == (2400, width)
    blue = np.abs(picture.astype(int) - (214, 120, 42)).max(axis=2) < 12  # --s0, BGR
    assert blue.sum() > 200
