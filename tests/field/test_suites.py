"""The script that reads public suites, on a suite of four files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.field import suites

TAGS = "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"


def test_counts_and_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    for name, *coder in (("a.mp4", "libx264"), ("b.ts", "mpeg2video", "-bf", "2"), ("c.mkv", "ffv1")):
        picture = ("-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d=0.4,{TAGS}", "-c:v", *coder)
        subprocess.run([exe, "-v", "error", *picture, str(tmp_path / name)], check=True)
    data = (tmp_path / "c.mkv").read_bytes()
    (tmp_path / "c.mkv").write_bytes(data[: len(data) // 2])
    (tmp_path / "d.avi").write_bytes(b"no video " * 20)
    monkeypatch.setattr("sys.argv", ["suites", str(tmp_path), str(tmp_path / "none")])
    assert suites.main() == 0
    out = capsys.readouterr().out
    assert "damaged: d.avi: FFmpeg finds no frame either" in out
    assert "c.mkv: cut short: its segment ends at byte" in out
    assert f"{tmp_path / 'none'}: skipped" in out
    assert "2 same" in out.splitlines()[-1]
