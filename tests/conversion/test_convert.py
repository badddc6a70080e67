"""The converter as a library function."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from imageio_ffmpeg import get_ffmpeg_exe
from torch import Tensor, nn

import vitm.conversion
from vitm.cli import main
from vitm.color import METHODS, inverse_tone_map, pq_eotf, pq_inverse_eotf
from vitm.color.gamut import BT709_TO_BT2020
from vitm.conversion import Encoding, Grading, Reading, convert
from vitm.conversion.level import operator_white
from vitm.nets.analytic import Analytic, Gain
from vitm.papers.kpn_mfi import KPNMFI
from vitm.video import FrameReader, VideoDecodeError, probe, read_image, write_image
from vitm.video.write.outputs import list_outputs
from vitm.zoo import NETWORKS, shipped_weights

NOISE = np.random.default_rng(0).random((66, 140, 3)).astype(np.float32)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six frames of 97 x 65: an odd size."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(6):
        write_image(folder / f"{i}.png", NOISE[:65, i : 97 + i], bits=8)
    return folder


def test_the_command_writes_the_same_bytes(clip: Path) -> None:
    report = convert(clip, clip.with_name("a.mp4"), "bt2446a", reading=Reading(fps=25), progress=False)
    assert main(["convert", str(clip), str(clip.with_name("b.mp4")), "--model", "bt2446a", "--fps", "25"]) == 0
    assert clip.with_name("a.mp4").read_bytes() == clip.with_name("b.mp4").read_bytes()
    written = json.loads(clip.with_name("a.mp4.json").read_text())
    assert written == json.loads(json.dumps(report.to_dict()))
    assert (report.frames, report.resumed_after, report.codec, report.model) == (6, 0, "hevc", "bt2446a")


def test_frames_beside_the_video_are_of_the_picture_s_size_and_exact(clip: Path) -> None:
    places = {"frames_folder": clip.with_name("frames"), "progress": False}
    report = convert(clip, clip.with_name("a.mp4"), "hable", grading=Grading("keep"), **places)
    assert report.frames_folder == clip.with_name("frames")
    files = sorted(clip.with_name("frames").iterdir())
    assert [f.name for f in files] == [f"{i:06d}.png" for i in range(6)]
    sdr = torch.from_numpy(next(iter(FrameReader(clip, expect="sdr"))).rgb).permute(2, 0, 1)
    expected = inverse_tone_map(sdr, method="hable").clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(read_image(files[0]) / 65535 - expected).max() < 0.51 / 65535
    assert sorted(p.name for p in clip.parent.iterdir()) == ["a.mp4", "a.mp4.json", "clip", "frames"]


def test_frames_beside_a_video_go_on_after_an_interruption(clip: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    places = clip, clip.with_name("a.mp4"), "hable"
    options = {"frames_folder": clip.with_name("frames"), "encoding": Encoding(segment_frames=2)}
    with pytest.raises(KeyboardInterrupt):
        convert(*places, **options, progress=stop)
    assert not clip.with_name("a.mp4").exists()
    assert not clip.with_name("frames").exists()
    steps: list[tuple[int, int]] = []
    report = convert(*places, **options, progress=lambda done, total: steps.append((done, total)))
    assert report.resumed_after == 4
    assert steps == [(5, 6), (6, 6)]
    whole = convert(clip, clip.with_name("b.mp4"), "hable", frames_folder=clip.with_name("whole"), progress=False)
    assert report.frames == whole.frames == 6
    for a, b in zip(*(sorted(clip.with_name(name).iterdir()) for name in ("frames", "whole")), strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert not clip.with_name(".a.mp4.vitm").exists()


class Brighter(nn.Module):
    """A network of somebody's own: PQ codes are SDR codes times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, sdr: Tensor) -> Tensor:
        return sdr * self.weight


def test_a_network_may_be_an_object(clip: Path) -> None:
    network = Brighter()
    report = convert(clip, clip.with_name("out"), network, grading=Grading("keep"), progress=False)
    assert (report.model, report.checkpoint) == ("Brighter", None)
    expected = read_image(clip / "0.png") / 255 * 0.5
    assert np.abs(read_image(clip.with_name("out") / "000000.png") / 65535 - expected).max() < 1e-5
    with pytest.raises(ValueError, match="has its weights"):
        convert(clip, clip.with_name("other"), network, checkpoint="w.ckpt")


class _Surveying(nn.Module):
    """Converts frames as plain SDR, and keeps what it was shown of the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Size] = []
        self.numbers: list[int] = []  # of frames seen, at each call

    def survey(self, frames: Iterable[Tensor]) -> None:
        self.seen = [sdr.shape for sdr in frames]
        self.numbers.append(-len(self.seen))

    def forward(self, sdr: Tensor) -> Tensor:
        self.numbers.append(len(self.seen))
        return Gain()(sdr)


def test_a_network_sees_frames_of_all_the_clip_first_and_forgets_them(clip: Path) -> None:
    network = _Surveying()
    convert(clip, clip.with_name("out.mp4"), network, progress=False)
    n = len(list(clip.iterdir()))
    assert network.numbers == [-n, *[n] * 2 * n, 0]  # the level is measured on n frames, too
    network.numbers.clear()
    convert(next(clip.iterdir()), clip.with_name("out.png"), network, progress=False)
    assert network.numbers == [0, 0]


def test_unfinished_work_of_an_object_with_other_weights_is_refused(clip: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    network = Brighter()
    options = {"grading": Grading("keep"), "encoding": Encoding(segment_frames=1)}
    with pytest.raises(KeyboardInterrupt):
        convert(clip, clip.with_name("a.mp4"), network, **options, progress=stop)
    with torch.no_grad():
        network.weight.fill_(0.25)
    with pytest.raises(ValueError, match="another network"):
        convert(clip, clip.with_name("a.mp4"), network, **options, progress=False)


def test_flow_is_part_of_how_an_output_is_made(clip: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    options = {"flow": "zero", "encoding": Encoding(segment_frames=1)}
    with pytest.raises(KeyboardInterrupt):
        convert(clip, clip.with_name("a.mp4"), "clues", **options, progress=stop)
    with pytest.raises(ValueError, match="another flow"):
        convert(clip, clip.with_name("a.mp4"), "clues", **options | {"flow": None}, progress=False)
    report = convert(clip, clip.with_name("a.mp4"), "clues", **options, progress=False)
    assert report.resumed_after == 1
    assert json.loads(clip.with_name("a.mp4.json").read_text())["flow"] == report.flow == "zero"


def test_a_checkpoint_names_its_network(clip: Path) -> None:
    arguments = {"width": 8, "trunk": (1, 1, 1, 1, 1)}
    torch.manual_seed(0)
    network = KPNMFI(**arguments).eval()
    path = clip.with_name("w.ckpt")
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": "kpn_mfi", "arguments": arguments}, "state_dict": state}, path)
    report = convert(clip, clip.with_name("a"), checkpoint=path, progress=False)
    assert report.model == "kpn_mfi"
    assert report.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    torch.save(network.state_dict(), path)
    with pytest.raises(ValueError, match="names no network: give model=NAME"):
        convert(clip, clip.with_name("b"), checkpoint=path)


def test_the_face_is_the_function() -> None:
    assert vitm.conversion.convert is convert


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.mp4", "out.mp4"], "none.mp4: no such file"),
        (["text.mp4", "out.mp4"], "text.mp4: not a video"),
        (["clip", "out.avi"], "cannot write '.avi' with HEVC"),
        (["clip", "nowhere/out.mp4"], "there is no folder nowhere"),
        (["clip", "out.mp4", "--model", "hdrnets"], "unknown network 'hdrnets'"),
        (["clip", "out.mp4", "--model", "hdcfm"], "hdcfm needs weights"),
        (["clip", "out.mp4", "--model", "hdcfm", "--checkpoint", "none.pth"], "no checkpoint at none.pth"),
        (["clip", "out.mkv", "--codec", "av1", "--encoder", "hevc_vaapi"], "encodes hevc, and the output is av1"),
        (["clip", "out.mp4", "--flow", "aligned"], "default estimates no optical flow: leave out --flow aligned"),
        (
            ["clip", "out.mp4", "--model", "clues", "--flow", "sea"],
            "unknown flow estimator 'sea': use one of dis",
        ),
        (["clip", "out.mp4", "--crf", "99"], "expected 0 (best) to 51"),
        (["clip", "out.mp4", "--diffuse-white", "20000"], "expected more than 0 and at most 10000"),
        (["clip", "out.mov", "--codec", "prores", "--crf", "9"], "prores has no option crf"),
        (["clip", "out.png"], "out.png is one picture, but clip has 6 frames"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--devices", "2", "--device", "cpu"], ["--on-change", "split"]])
def test_what_is_known_at_once_is_said_before_any_work(
    words: list[str],
    message: str,
    form: list[str],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "out.png" in words and "--devices" in form:
        pytest.skip("devices share videos alone")
    monkeypatch.chdir(clip.parent)
    Path("text.mp4").write_text("no video")
    for module in ("vitm.conversion.convert", "vitm.conversion.shared"):
        for work in ("check_encoder", "choose_model"):
            monkeypatch.setattr(sys.modules[module], work, fail)
    monkeypatch.setattr(FrameReader, "stretches", lambda reader: [] if words[1] == "out.png" else fail())
    assert main(["convert", *words, *form]) == 2
    assert message in "".join(capsys.readouterr()).replace("\n", " ")


def fail(*_: object) -> None:
    raise AssertionError("this takes time")


def test_the_parser_loads_neither_torch_nor_a_codec() -> None:
    code = """
import sys
from vitm.cli import main
try: main(["convert", "--help"])
except SystemExit: pass
print("loaded:", *(m for m in ("torch", "av", "cv2", "numpy") if m in sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--diffuse-white" in out
    assert out.splitlines()[-1] == "loaded:"


def test_the_help_names_all_models_and_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert not {*NETWORKS, *METHODS, *list_outputs()} - words


class Bright(nn.Module):
    """A network that puts SDR white at 2,321 cd/m2."""

    def forward(self, sdr: Tensor) -> Tensor:
        return sdr * float(pq_inverse_eotf(torch.tensor(2321.0)))


@pytest.mark.parametrize(
    ("options", "display"),
    [
        ({}, 4000),
        ({"mastering_peak": 1000}, 1000),
        ({"mastering_peak": 1000, "peak_nits": 600}, 1000),
        ({"peak_nits": 600}, 600),
        ({"mastering_peak": 10_000}, 10_000),
    ],
)
def test_metadata_and_picture_agree(tmp_path: Path, options: dict[str, float], display: float) -> None:
    (tmp_path / "clip").mkdir()
    write_image(tmp_path / "clip/0.png", np.linspace(0, 1, 64, dtype=np.float32).repeat(192).reshape(64, 64, 3), bits=8)
    write_image(tmp_path / "clip/1.png", np.ones((64, 64, 3), np.float32), bits=8)
    out = tmp_path / "a.mkv"
    report = convert(
        tmp_path / "clip",
        out,
        Bright(),
        grading=Grading("keep", **options),
        encoding=Encoding("av1", lossless=True),
        progress=False,
    )
    info = probe(out)
    assert info.mastering_display is not None
    assert report.mastering_peak == pytest.approx(info.mastering_display.max_nits) == display
    assert info.max_cll is not None
    limit = options.get("peak_nits", display)
    brightest = max(float(pq_eotf(torch.from_numpy(frame.rgb)).max()) for frame in FrameReader(out))
    assert 0.6 * min(limit, 2321) < info.max_cll <= limit
    assert brightest == pytest.approx(info.max_cll, rel=0.01)  # a ten-bit code is 1 % of light


def test_a_peak_above_the_mastering_display_is_refused(clip: Path) -> None:
    for options, message in (
        ({"peak_nits": 2000, "mastering_peak": 1000}, "brighter than the display of mastering_peak=1000"),
        ({"mastering_peak": 0}, "mastering_peak=0: expected more than 0"),
        ({"mastering_peak": 1000}, "hlg holds no mastering display; give peak_nits"),
        ({"peak_nits": 0}, "peak_nits=0: expected more than 0"),
    ):
        encoding = Encoding("hlg" if message.startswith("hlg") else None)
        with pytest.raises(ValueError, match=message):
            convert(clip, clip.with_name("a.mp4"), "hable", grading=Grading(**options), encoding=encoding)


class Lifting(nn.Module):
    """A network that lifts black to 0.8 cd/m2, puts mid-tones at 100 cd/m2 white and white at 2,000, tinted."""

    def forward(self, sdr: Tensor) -> Tensor:
        light = 0.8 + 100 * sdr**2.4 + 1900 * (sdr > 0.99) * torch.tensor([1.0, 0.8, 0.9]).view(3, 1, 1)
        return pq_inverse_eotf(light)


def film(folder: Path) -> Path:
    """A photograph with letterbox bars and a lamp; then, in the same scene, a white page dissolves into it."""
    folder.mkdir()
    picture = cv2.GaussianBlur(NOISE, (0, 0), 3)[:64, :96] * 1.4 - 0.2
    picture[:10] = picture[-10:] = 0
    picture[30:36, 40:46] = 1
    page = np.ones((64, 96, 3), np.float32)
    page[28:34, 20:70] = 0
    for i in range(52):
        share = np.clip((i - 10) / 16, 0, 1)  # slowly: no cut
        write_image(folder / f"{i:02d}.png", picture + share * (page - picture), bits=8)
    return folder


def light(folder: Path, number: int) -> np.ndarray:
    return pq_eotf(torch.from_numpy(read_image(folder / f"{number:06d}.png") / 65535)).numpy()


def test_bars_stay_black_lamps_shine_and_pages_are_white_paper(tmp_path: Path) -> None:
    report = convert(film(tmp_path / "film"), tmp_path / "out", Lifting(), progress=False)
    assert light(tmp_path / "out", 0)[:10].max() < 0.001
    assert light(tmp_path / "out", 0)[30:36, 40:46].max() > 2000
    page = light(tmp_path / "out", 51)
    assert np.median(page) == pytest.approx(203, rel=0.01)
    assert page[30, 40].max() < 0.001
    assert [last for _, last in report.graphics] == [51]
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["graphics"] == [[report.graphics[0][0], 51]]
    assert written["level"]["anchor_black"]
    kept = convert(tmp_path / "film", tmp_path / "kept", Lifting(), grading=Grading(graphics="keep"), progress=False)
    assert kept.graphics == ()
    assert light(tmp_path / "kept", 51).max() > 2000
    convert(tmp_path / "film", tmp_path / "raw", Lifting(), grading=Grading("keep"), progress=False)
    assert light(tmp_path / "raw", 0)[:10].min() == pytest.approx(0.8, rel=0.01)
    assert light(tmp_path / "raw", 51).max() == pytest.approx(2000.8, rel=0.01)


@pytest.mark.slow
def test_graphics_are_found_alike_after_an_interruption(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    source = film(tmp_path / "film")
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out", Lifting(), progress=stop)
    report = convert(source, tmp_path / "out", Lifting(), progress=False)
    assert report.resumed_after == 30
    whole = convert(source, tmp_path / "whole", Lifting(), progress=False)
    assert report.graphics == whole.graphics != ()
    for i in range(52):
        assert np.array_equal(light(tmp_path / "out", i), light(tmp_path / "whole", i)), i


class Late(Lifting):
    """The same, but it looks at a whole scene before it gives its first frame."""

    context = 1_000_000

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        yield from [self(frame) for frame in frames]


@pytest.mark.slow
def test_frames_of_a_whole_scene_are_read_again_instead_of_kept(tmp_path: Path) -> None:
    source = film(tmp_path / "film")
    for name, network in (("now", Lifting()), ("late", Late())):
        convert(source, tmp_path / name, network, grading=Grading(strength=0.6), progress=False)
    for i in range(0, 52, 13):
        assert np.array_equal(light(tmp_path / "now", i), light(tmp_path / "late", i))


def test_operators_of_the_tables_need_no_weights(clip: Path) -> None:
    convert(clip, clip.parent / "out", "huo", progress=False)
    assert len(list((clip.parent / "out").glob("*.png"))) == 6
    with pytest.raises(ValueError, match="csrnet needs weights"):
        convert(clip, clip.parent / "other", "csrnet", progress=False)


@pytest.mark.parametrize("model", METHODS)
def test_the_operators_default_level(model: str, clip: Path) -> None:
    """The table of docs/guide/converting.md."""
    (clip.parent / "grey").mkdir()
    codes = np.array([0.18 ** (1 / 2.4), 1.0, 0.0], np.float32)
    write_image(clip.parent / "grey/0.png", codes.repeat(64).reshape(3, 64, 1).repeat(3, axis=2), bits=16)
    convert(clip.parent / "grey", clip.parent / "out", model, grading=Grading(graphics="keep"), progress=False)
    grey, white, black = light(clip.parent / "out", 0).mean(axis=(1, 2))
    assert grey == pytest.approx(0.18 * 203, rel=1e-3)
    assert black < 1e-6
    page = (Path(__file__).parents[2] / "docs/guide/converting.md").read_text()
    (stated,) = re.findall(rf"\| `{model}` \| [\d.]+ \| (\d+) \| ([\d.]+) \|", page)
    assert white == pytest.approx(float(stated[0]), rel=0.002)
    noisy = torch.tensor([0.98, 1.0]).view(1, 2, 1).expand(3, 2, 1)
    steps = [
        float((x[0, 1] - x[0, 0]).item())
        for x in (Analytic(model, gain=203 / operator_white(Analytic(model)))(noisy), Gain()(noisy))
    ]
    assert steps[0] / steps[1] == pytest.approx(float(stated[1]), abs=0.06)


def _film(path: Path, tags: str, *options: str) -> Path:
    """A second of FFmpeg's test picture with colour tags, as `color_primaries=bt709:...`."""
    source = f"testsrc2=s=160x96:r=25:d=1,format=yuv420p,setparams={tags}"
    command = [get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", *options, str(path)]
    subprocess.run(command, check=True)
    return path


def _first_frame(path: Path) -> np.ndarray:
    return next(iter(FrameReader(path, expect="hdr10"))).rgb


RIGHT = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"


def test_wrong_tags_are_overridden_and_conversion_of_colours_is_noted(tmp_path: Path) -> None:
    options = {"grading": Grading("keep"), "encoding": Encoding(lossless=True), "progress": False}
    right = _film(tmp_path / "right.mp4", RIGHT)
    wrong = _film(tmp_path / "wrong.mp4", RIGHT.replace("bt709", "smpte170m"))
    convert(right, tmp_path / "a.mp4", "clip", **options)
    kept = convert(wrong, tmp_path / "b.mp4", "clip", **options)
    convert(wrong, tmp_path / "c.mp4", "clip", reading=Reading(override="bt709"), **options)
    assert any("converted to BT.709" in note for note in kept.notes)
    assert kept.to_dict()["notes"] == list(kept.notes)
    assert np.abs(_first_frame(tmp_path / "b.mp4") - _first_frame(tmp_path / "a.mp4")).max() > 0.02
    assert np.abs(_first_frame(tmp_path / "c.mp4") - _first_frame(tmp_path / "a.mp4")).max() < 0.002


def test_interlaced_frames_are_refused_or_deinterlaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = _film(tmp_path / "film.mp4", f"{RIGHT}:field_mode=tff", "-flags", "+ildct+ilme", "-x264-params", "tff=1")
    command = ["convert", str(film), str(tmp_path / "out.mp4"), "--model", "clip"]
    assert main(command) == 2
    assert "--deinterlace auto" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out.mp4").exists()
    assert main([*command, "--deinterlace", "auto"]) == 0
    assert probe(tmp_path / "out.mp4").n_frames == 25


@pytest.mark.slow
def test_the_report_tells_the_weights_that_ship(clip: Path) -> None:
    report = convert(clip, clip.with_name("a.mp4"), reading=Reading(fps=25), progress=False)
    assert report.model == "default"
    assert report.checkpoint_sha256 == hashlib.sha256(shipped_weights("default").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.png", "a.avif", "a.jxl", "a.jpg", "a.exr"])
def test_a_photograph_becomes_one_picture(name: str, tmp_path: Path) -> None:
    """Flat sRGB colours by `clip`: the light of IEC 61966-2-1, white at 203 cd/m2."""
    if name == "a.avif":
        pytest.importorskip("imagecodecs")
    codes = np.repeat(np.array([[[250, 128, 40], [10, 200, 90]]], np.uint8), 16, axis=1).repeat(16, axis=0)
    iio.imwrite(tmp_path / "in.webp", codes, lossless=True)
    report = convert(tmp_path / "in.webp", tmp_path / name, "clip", grading=Grading("keep"), progress=False)
    assert (report.frames, report.codec) == (1, {"a.jpg": "ultrahdr"}.get(name, name[2:]))
    light = np.where(codes <= 10, codes / 255 / 12.92, ((codes / 255 + 0.055) / 1.055) ** 2.4)
    expected = 203 * light @ np.array(BT709_TO_BT2020).T
    reader = FrameReader(tmp_path / name, expect="linear" if name == "a.exr" else "hdr10")
    (frame,) = reader
    nits = 100 * frame.rgb if name == "a.exr" else pq_eotf(torch.from_numpy(frame.rgb)).numpy()
    np.testing.assert_allclose(nits[8, 8::16], expected[8, 8::16], rtol=0.04, atol=0.3)
    assert report.notes == ("srgb with bt709 primaries is converted to BT.709",)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.json", "in.webp"])


def test_a_clip_is_no_picture(clip: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png is one picture, but .*clip has 6 frames: name a folder or a video"):
        convert(clip, clip.with_name("a.png"), "clip", progress=False)
    assert [p.name for p in clip.parent.iterdir()] == ["clip"]


def test_what_is_no_picture_is_refused_in_words(clip: Path) -> None:
    photograph = clip.with_name("a.jxl")
    photograph.write_bytes(bytes.fromhex("ff0a7f0090013806002000") + bytes(64))  # the start of a codestream
    with pytest.raises(VideoDecodeError, match=r"a\.jxl: not a readable jxl file, or damaged"):
        convert(photograph, clip.with_name("a.png"), "clip", progress=False)
    with pytest.raises(ValueError, match=r"out\.heic: nothing is written as \.heic: name a video \(\*\.mp4, .*\*\.jxl"):
        convert(clip, clip.with_name("out.heic"), "clip", progress=False)


@pytest.mark.parametrize(("names", "expected"), [("shot.1001", "1001"), ("frame_0099", "0099"), ("9", "000009")])
def test_frames_keep_their_numbers(names: str, expected: str, clip: Path) -> None:
    folder, first = clip.with_name("shot"), int(re.findall(r"\d+", names)[-1])
    folder.mkdir()
    digits = len(expected) if len(names) > 1 else 1
    prefix = names[:-digits]
    for i, file in enumerate(sorted(clip.iterdir())[:2]):
        (folder / f"{prefix}{first + i:0{digits}d}.png").write_bytes(file.read_bytes())
    convert(folder, clip.with_name("out"), "clip", progress=False)
    last = f"{first + 1:0{len(expected)}d}"
    assert sorted(p.name for p in clip.with_name("out").iterdir()) == [f"{expected}.png", f"{last}.png"]


@pytest.mark.parametrize(("model", "options"), [("clip", {}), ("bt2446a", {}), ("bt2446a", {"strength": 0.5})])
def test_super_white_is_kept_in_light(model: str, options: dict[str, float], tmp_path: Path) -> None:
    """Luma 254 of 8 bits is (254 - 16) / 219 of white in code, and by BT.1886 that to the power of 2.4 in light."""
    path = tmp_path / "a.mkv"
    source = "color=c=white:s=64x48:d=0.2:r=10,format=yuv420p,geq=lum='if(lt(X,32),235,254)':cb=128:cr=128"
    tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    ffmpeg = [get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", f"{source},{tags}", "-c:v", "ffv1", str(path)]
    subprocess.run(ffmpeg, check=True)
    convert(path, tmp_path / "out", model, grading=Grading(graphics="keep", **options), progress=False)
    white, super_white = light(tmp_path / "out", 0)[24, [8, 56]].mean(axis=1)
    assert super_white / white == pytest.approx((238 / 219) ** 2.4, rel=5e-3 if options else 1e-3)
    convert(path, tmp_path / "peak", model, grading=Grading(graphics="keep", peak_nits=210, **options), progress=False)
    assert light(tmp_path / "peak", 0).max() <= 210.1
