"""The peak memory of a call, as in the tests of the operators."""

from __future__ import annotations

from tests.ops.conftest import extra_peak

__all__ = ["extra_peak"]
