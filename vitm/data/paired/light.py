"""Linear light as targets: EXR files become 16-bit PQ codes of BT.2020, as PNG and TIFF hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from numpy.typing import NDArray

from vitm.color import bt709_to_bt2020, pq_inverse_eotf
from vitm.video.images import image_header

LINEAR = ".exr"


def is_linear(path: Path) -> bool:
    """Return whether a file holds linear light: whether it is EXR."""
    return path.suffix.lower() == LINEAR


@dataclass(frozen=True)
class LinearLight:
    """What the values in EXR files mean.

    Primaries are those of the file's attribute `chromaticities`, BT.2020's or BT.709's; without it, BT.709's (OpenEXR's
    rule). Light below 0 becomes 0, and above 10,000 cd/m2 that.

    Args:
        unit_nits: light of 1.0 in cd/m2; None: as each file's attribute `whiteLuminance` says.
    """

    unit_nits: float | None = None

    def unit_of(self, path: Path) -> float:
        """Return the light of 1.0 in a file, in cd/m2, after a look at its header.

        Raises:
            ValueError: nothing says it, or the file has other primaries.
        """
        header = image_header(path)
        if header.primaries not in ("bt709", "bt2020"):
            raise ValueError(f"HDR file {path} has other primaries than BT.709 and BT.2020 in its chromaticities")
        unit = self.unit_nits or header.white_nits
        if unit is None:
            raise ValueError(
                f"HDR file {path} holds linear light and has no whiteLuminance: say what 1.0 is in cd/m2 "
                "(--data.unit_nits 100)"
            )
        return unit

    def key(self, path: Path) -> list[float]:
        """Return what the codes of a file depend on beside the file, for the names of what is kept of it."""
        return [self.unit_of(path)] if is_linear(path) else []

    def codes(self, image: NDArray[Any], path: Path) -> NDArray[Any]:
        """Return a picture (H, W, 3) as integer codes: that of an EXR file converted, any other as it is."""
        if not is_linear(path):
            return image
        nits = rearrange(torch.from_numpy(image), "h w c -> c h w") * self.unit_of(path)
        nits = bt709_to_bt2020(nits) if image_header(path).primaries == "bt709" else nits
        codes = (pq_inverse_eotf(nits) * 65535).round().to(torch.uint16)
        return rearrange(codes, "c h w -> h w c").contiguous().numpy()
