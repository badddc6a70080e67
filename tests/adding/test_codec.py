"""What docs/adding/codec.md says, done in a package outside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from vitm.conversion import Encoding, convert
from vitm.video import FrameReader, probe, write_image
from vitm.video.codecs import CODECS, find_codec
from vitm.video.planes import rgb_to_planes

PAGE = (Path(__file__).parents[2] / "docs/adding/codec.md").read_text()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the page's class in `mypackage.ffv1`."""
    folder = tmp_path / "elsewhere"
    (folder / "mypackage").mkdir(parents=True)
    (folder / "mypackage/__init__.py").touch()
    (folder / "mypackage/ffv1.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "clip").mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        write_image(tmp_path / f"clip/{i}.png", rng.random((34, 65, 3), np.float32), bits=8)
    return tmp_path / "clip"


@pytest.mark.slow
def test_the_command_takes_the_import_path(package: Path, clip: Path) -> None:
    out = clip.with_name("out.mkv")
    line = re.search(r"vitm convert in.mp4 out.mkv (.*)", PAGE)
    assert line is not None
    command = [sys.executable, "-c", "from vitm.cli import main; raise SystemExit(main())", "convert", clip, out]
    paths = f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    subprocess.run([*command, *line[1].split()], check=True, env={**os.environ, "PYTHONPATH": paths})
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
    info = probe(out)
    assert (info.transfer, info.primaries, info.n_frames, info.width, info.height) == ("pq", "bt2020", 5, 66, 34)


def test_it_resumes_and_keeps_every_code(package: Path, clip: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    out, encoding = clip.with_name("out.mkv"), Encoding("mypackage.ffv1.FFV1", segment_frames=2)
    with pytest.raises(KeyboardInterrupt):
        convert(clip, out, "clip", encoding=encoding, progress=stop)
    report = convert(clip, out, "clip", encoding=encoding, progress=False, preview=True)
    assert (report.frames, report.resumed_after) == (5, 2)
    assert report.previews is not None
    assert all(path.is_file() for path in report.previews)
    frames = convert(clip, clip.with_name("frames"), "clip", progress=False)
    with av.open(str(out)) as container:
        decoded = [frame.to_ndarray()[0] for frame in container.decode(video=0)]
    for frame, codes in zip(decoded, FrameReader(frames.output, expect="hdr10"), strict=True):
        rgb = np.pad(codes.rgb, [(0, 0), (0, 1), (0, 0)], mode="edge")
        luma = rgb_to_planes(np.ascontiguousarray(rgb), "4:2:2")[0]
        assert np.abs(frame.astype(int) - luma.astype(int)).max() <= 1  # the folder was rounded to 16 bits


def test_one_line_gives_it_a_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = re.findall(r'^    ("ffv1": .*),$', PAGE, re.MULTILINE)
    monkeypatch.setitem(CODECS, "ffv1", eval("{" + name + "}")["ffv1"].replace("vitm.video.codecs", "mypackage"))
    assert find_codec("ffv1").encoder == "ffv1"


def test_a_class_that_is_no_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a subclass of vitm"):
        find_codec("fractions.Fraction")
    with pytest.raises(ValueError, match="cannot import it"):
        find_codec("nopackage.codecs.FFV1")
