"""Protocols that may and may not be compared."""

from __future__ import annotations

from dataclasses import replace

from vitm.metrics import Protocol, compatible


def test_compatible_looks_at_every_field() -> None:
    base = Protocol("PQ BT.2020", 10_000.0, "16-bit", "full frame", "mean of frames", ppd=16.9238)
    assert compatible(base, replace(base, ppd=16.92))
    others = {"domain": "PU21", "peak_nits": 1000.0, "rounding": "8-bit", "crop": "border 4", "reduction": "pooled"}
    others |= {"variant": "Q", "display": "oled"}
    for field, value in others.items():
        assert not compatible(base, replace(base, **{field: value})), field  # type: ignore[arg-type]
    for ppd in (60.0, None):
        assert not compatible(base, replace(base, ppd=ppd))
        assert not compatible(replace(base, ppd=ppd), base)
