"""NumPy oracles of vitm.color.tone: every step of the standards as printed, on one row of pixels (N, 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# BT.2446-1 6.1.3 and 6.1.5, printed to four digits
RGB_TO_XYZ = np.array([[0.6370, 0.1446, 0.1689], [0.2627, 0.6780, 0.0593], [0.0000, 0.0281, 1.0610]])


def bt2446a(hdr: Array, peak: float = 1000.0) -> Array:
    """Report BT.2446-1, 4.1: linear BT.2020 in cd/m2 -> SDR R'G'B' (BT.2020), through Y'Cb'Cr'."""
    r, g, b = np.moveaxis((hdr / peak) ** (1 / 2.4), -1, 0)
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    rho_hdr, rho_sdr = (1 + 32 * (level / 10000) ** (1 / 2.4) for level in (peak, 100.0))
    yp = np.log(1 + (rho_hdr - 1) * y) / np.log(rho_hdr)
    yc = np.select([yp <= 0.7399, yp < 0.9909], [1.0770 * yp, -1.1510 * yp**2 + 2.7811 * yp - 0.6302], 0.5 * yp + 0.5)
    y_sdr = (rho_sdr**yc - 1) / (rho_sdr - 1)
    scale = np.divide(y_sdr, 1.1 * y, out=np.zeros_like(y), where=y > 0)
    cb, cr = scale * (b - y) / 1.8814, scale * (r - y) / 1.4746
    y_tmo = y_sdr - np.maximum(0.1 * cr, 0)
    return np.stack((y_tmo + 1.4746 * cr, y_tmo - 0.16455 * cb - 0.57135 * cr, y_tmo + 1.8814 * cb), axis=-1)


def bt2446a_inverse(sdr_code: Array) -> Array:
    """Report BT.2446-1, 4.2, table 4: SDR R'G'B' (BT.2020) -> linear BT.2020 in cd/m2."""
    r, g, b = np.moveaxis(sdr_code, -1, 0)
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    cb, cr = (b - y) / 1.8814, (r - y) / 1.4746
    y_255 = 255.0 * y
    exponent = np.where(
        y_255 <= 70,
        1.8712e-5 * y_255**2 - 2.7334e-3 * y_255 + 1.3141,
        2.8305e-6 * y_255**2 - 7.4622e-4 * y_255 + 1.2528,
    )
    y_hdr = y_255**exponent
    scale = np.where(y > 0, 1.075 * y_hdr / np.where(y > 0, y, 1), 1.0)
    cb, cr = scale * cb, scale * cr
    rgb = np.stack((y_hdr + 1.4746 * cr, y_hdr - 0.16455 * cb - 0.57135 * cr, y_hdr + 1.8814 * cb), axis=-1)
    return 1000 * (np.clip(rgb, 0, 1000) / 1000) ** 2.4


def bt2446c(hdr: Array, alpha: float) -> Array:
    """Report BT.2446-1, 6.1, with the printed constants: linear BT.2020 in cd/m2 -> SDR linear BT.2020 in cd/m2."""
    crosstalk = np.full((3, 3), alpha) + (1 - 3 * alpha) * np.eye(3)
    xyz = hdr @ crosstalk.T @ RGB_TO_XYZ.T
    x, y = xyz[:, 0] / xyz.sum(-1), xyz[:, 1] / xyz.sum(-1)
    y_hdr, inflection = xyz[:, 1], 58.5 / 0.83802
    log = 15.09968 * np.log(np.maximum(y_hdr / inflection - 0.74204, 1e-9)) + 78.99439
    y_sdr = np.where(y_hdr < inflection, 0.83802 * y_hdr, log)
    xyz = np.stack((x / y * y_sdr, y_sdr, (1 - x - y) / y * y_sdr), axis=-1)
    return xyz @ np.linalg.inv(RGB_TO_XYZ).T @ np.linalg.inv(crosstalk).T


def hable(x: Array) -> Array:
    """Hable 2010: the filmic curve over its value at 11.2."""

    def curve(v: Array) -> Array:
        return ((v * (0.15 * v + 0.10 * 0.50) + 0.20 * 0.02) / (v * (0.15 * v + 0.50) + 0.20 * 0.30)) - 0.02 / 0.30

    return curve(x) / curve(np.array(11.2))


def reinhard(luminance: Array, white: float) -> Array:
    """Reinhard et al. 2002, eq. 4."""
    return luminance * (1 + luminance / white**2) / (1 + luminance)
