"""Ultra HDR photographs: against an independent decoder, and both forms of the description against arithmetic."""

from __future__ import annotations

import importlib.util
import struct

import cv2
import numpy as np
import pytest

from vitm.video import VideoDecodeError
from vitm.video.gain_map import GainMap, has_gain_map, read_gain_map

XMP = b"http://ns.adobe.com/xap/1.0/\0"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(image: np.ndarray, *segments: bytes) -> bytes:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    return data[:2] + b"".join(segments) + data[2:]


def iso(gain_map: GainMap, *, channels: int = 3, common: bool = False) -> bytes:
    rows = [
        [getattr(gain_map, name)[c] for name in ("minimum", "maximum", "gamma", "base_offset", "alternate_offset")]
        for c in range(channels)
    ]
    numbers = [0.0, gain_map.headroom, *(x for row in rows for x in row)]
    scale = 10_000
    body = struct.pack(">I", scale) if common else b""
    for number in numbers:
        body += struct.pack(">i", round(number * scale)) + (b"" if common else struct.pack(">I", scale))
    return ISO + struct.pack(">HHB", 0, 0, (0x80 if channels == 3 else 0) | (0x08 if common else 0)) + body


def xmp(gain_map: GainMap) -> bytes:
    lists = "".join(
        f"<hdrgm:{name}><rdf:Seq>{''.join(f'<rdf:li>{x}</rdf:li>' for x in values)}</rdf:Seq></hdrgm:{name}>"
        for name, values in (
            ("GainMapMin", gain_map.minimum),
            ("GainMapMax", gain_map.maximum),
            ("Gamma", gain_map.gamma),
        )
    )
    return (
        XMP
        + (
            f'<rdf:Description hdrgm:Version="1.0" hdrgm:OffsetSDR="{gain_map.base_offset[0]}" '
            f'hdrgm:OffsetHDR="{gain_map.alternate_offset[0]}" hdrgm:HDRCapacityMax="{gain_map.headroom}">{lists}'
        ).encode()
    )


THREE = GainMap((-0.5, 0.0, 0.25), (2.0, 3.0, 4.0), (0.5, 1.0, 2.0), (0.01,) * 3, (0.02,) * 3, 4.0)


@pytest.fixture
def photograph(tmp_path, rng):
    def write(*description: bytes, orientation: int | None = None, gains: np.ndarray | None = None):
        yy, xx = np.mgrid[0:48, 0:64]
        base = np.stack([xx * 3, yy * 4, 255 - xx * 2], -1).astype(np.uint8)
        gains = np.full((48, 64, 3), 128, np.uint8) if gains is None else gains
        exif = []
        if orientation is not None:
            tags = struct.pack("<HHHIHH", 1, 274, 3, 1, orientation, 0)
            exif = [segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<I", 8) + tags)]
        file = tmp_path / "photograph.jpg"
        file.write_bytes(jpeg(base, *exif) + jpeg(gains, *(segment(*d) for d in description)))
        return file

    return write


def expected(sdr: np.ndarray, gain_map: GainMap, code: int = 128) -> np.ndarray:
    c = sdr.astype(np.float64) / 255
    light = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    low, high, gamma, before, after = (
        np.array(getattr(gain_map, name)) for name in ("minimum", "maximum", "gamma", "base_offset", "alternate_offset")
    )
    return np.maximum((light + before) * 2 ** (low + (high - low) * (code / 255) ** (1 / gamma)) - after, 0)


@pytest.mark.parametrize("form", ["xmp", "iso", "iso, common denominator", "iso, one channel"])
def test_both_descriptions_give_the_light_of_the_formula(photograph, form):
    gain_map = THREE
    if form == "iso, one channel":
        gain_map = GainMap((-0.5,) * 3, (2.0,) * 3, (0.5,) * 3, (0.01,) * 3, (0.02,) * 3, 2.0)
    content = {
        "xmp": (0xE1, xmp(gain_map)),
        "iso": (0xE2, iso(gain_map)),
        "iso, common denominator": (0xE2, iso(gain_map, common=True)),
        "iso, one channel": (0xE2, iso(gain_map, channels=1)),
    }[form]
    picture = read_gain_map(photograph(content))
    assert picture.gain_map == pytest.approx(gain_map) if form != "xmp" else picture.gain_map == gain_map
    np.testing.assert_allclose(picture.hdr, expected(picture.sdr, gain_map), rtol=2e-5, atol=2e-6)
    assert (picture.primaries, picture.tagged) == ("bt709", False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright(photograph, orientation):
    file = photograph((0xE2, iso(THREE)), orientation=orientation)
    picture = read_gain_map(file)
    decoded = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)  # OpenCV turns it
    np.testing.assert_array_equal(picture.sdr, decoded)
    np.testing.assert_allclose(picture.hdr, expected(decoded, THREE), rtol=2e-5, atol=2e-6)


def test_other_files_and_damaged_ones_are_named(photograph, tmp_path):
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(jpeg(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(VideoDecodeError, match=r"plain\.jpg: a JPEG without a gain map"):
        read_gain_map(plain)
    assert not has_gain_map(plain)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(VideoDecodeError, match="not a JPEG"):
        read_gain_map(text)
    for content, message in (
        ((0xE2, iso(THREE)[:60]), "damaged"),
        ((0xE2, ISO + struct.pack(">HHB", 7, 7, 0) + b"\0" * 60), "version 7"),
        ((0xE1, xmp(THREE).replace(b"<rdf:li>2.0</rdf:li>", b"<rdf:li>nan</rdf:li>", 1)), "not a number"),
        ((0xE1, xmp(THREE).replace(b"hdrgm:Version", b'hdrgm:BaseRenditionIsHDR="True" hdrgm:Version')), "HDR one"),
    ):
        with pytest.raises(VideoDecodeError, match=message):
            read_gain_map(photograph(content))


@pytest.mark.slow
def test_real_photographs_agree_with_an_independent_decoder(shared):
    tool = shared / "tools" / "ultrahdr_reference.py"
    spec = importlib.util.spec_from_file_location("ultrahdr_reference", tool)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    files = sorted((shared / "data" / "hdr" / "photos_ultrahdr").glob("*.jpg"))
    assert len(files) == 8
    for file in files:
        picture = read_gain_map(file)
        sdr, light, _ = reference.ultra(str(file))
        if picture.sdr.shape == sdr.shape:  # the reference leaves photographs as the camera held them
            np.testing.assert_array_equal(picture.sdr, sdr)
            np.testing.assert_allclose(picture.hdr, np.maximum(light, 0), rtol=1e-3, atol=1e-4)
        assert picture.tagged != file.name.startswith("desert")
        if file.name.startswith(("Ultra_HDR", "night")):  # phones
            assert picture.primaries == "display-p3"
