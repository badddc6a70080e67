"""Photographs with gain maps become pairs: values by the formulas, and what is no such photograph is rejected."""

from __future__ import annotations

import struct

import colour
import cv2
import numpy as np
import pytest

from vitm.data.prepare.ultrahdr import hdr10_of, prepare_ultrahdr, sdr_of
from vitm.video import read_image

XMP = b"http://ns.adobe.com/xap/1.0/\0"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def photograph(path, code=180, gain=2.0):
    """A grey picture whose gain map doubles its light `gain` times."""
    description = (
        f'<rdf:Description hdrgm:Version="1.0" hdrgm:GainMapMin="0" hdrgm:GainMapMax="{gain}" hdrgm:Gamma="1" '
        'hdrgm:OffsetSDR="0" hdrgm:OffsetHDR="0" hdrgm:HDRCapacityMax="2"/>'
    )
    base, gains = (
        cv2.imencode(".jpg", np.full((40, 60, 3), v, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
        for v in (code, 255)
    )
    path.write_bytes(base + gains[:2] + segment(0xE1, XMP + description.encode()) + gains[2:])
    return path


def test_a_photograph_is_a_pair_with_white_at_203_nits(tmp_path):
    files = [photograph(tmp_path / "a.jpg"), tmp_path / "b.jpg", tmp_path / "missing.jpg"]
    cv2.imwrite(str(files[1]), np.zeros((8, 8, 3), np.uint8))
    records = prepare_ultrahdr(files, tmp_path / "out", longest=30, test_share=0)
    sdr, hdr = (read_image(tmp_path / "out" / "train" / kind / "a.png") for kind in ("sdr", "hdr"))
    assert sdr.shape == hdr.shape == (20, 30, 3)
    assert (sdr == 180).all()
    light = 203 * 4 * colour.models.eotf_sRGB(180 / 255)
    expected = colour.models.eotf_inverse_ST2084(light)
    assert float(abs(hdr / 65535 - expected).max()) < 1e-4
    assert "without a gain map" in records["b"]["rejected_because"]
    assert "there is no" in records["missing"]["rejected_because"]


@pytest.mark.parametrize("primaries", ["display-p3", "bt2020"])
def test_wide_colours_go_by_light(primaries, rng):
    """Against colour-science, for a colour inside BT.709."""
    space = {"display-p3": "Display P3", "bt2020": "ITU-R BT.2020"}[primaries]
    linear = np.array([0.30, 0.22, 0.18])
    codes = np.round(colour.models.eotf_inverse_sRGB(linear) * 255).astype(np.uint8)[None, None]
    exact = colour.models.eotf_sRGB(codes / 255)
    wanted = colour.RGB_to_RGB(exact, space, "sRGB", chromatic_adaptation_transform=None)
    sdr = sdr_of(codes, primaries)
    np.testing.assert_allclose(sdr, colour.models.eotf_inverse_sRGB(wanted), atol=2e-4)
    hdr = hdr10_of(exact.astype(np.float32), primaries)
    wide = colour.RGB_to_RGB(exact, space, "ITU-R BT.2020", chromatic_adaptation_transform=None)
    np.testing.assert_allclose(hdr, colour.models.eotf_inverse_ST2084(203 * wide), atol=2e-4)
