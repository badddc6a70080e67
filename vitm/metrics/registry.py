"""Metrics by the names that tables, configurations and `vitm evaluate` use. One name is one protocol.

Importing this file loads neither torch nor any metric: names are bound to classes when a metric is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitm.metrics.protocol import Protocol
from vitm.metrics.values import MetricValue

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

    from vitm.metrics.base import VideoMetric


@dataclass(frozen=True)
class MetricLine:
    """One line of the registry: the class behind a name, and what makes it another variant of its class.

    Args:
        path: import path of the class, or of a function without arguments that returns a metric.
        title: title of the variant's value, whose name is that of the line; None for the class's own values.
        options: arguments of the class.
        unit: unit of the variant's value; None for the class's own.
    """

    path: str
    title: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    unit: str | None = None

    def described(self, name: str, values: tuple[MetricValue, ...]) -> tuple[MetricValue, ...]:
        """Return the values of the class, described as those of the line."""
        if self.title is None:
            return values
        (value,) = values
        return (replace(value, name=name, title=self.title, unit=value.unit if self.unit is None else self.unit),)


# The order is that of columns in tables.
METRICS: dict[str, MetricLine] = {
    "psnr": MetricLine("vitm.metrics.psnr.PSNR"),
    "ssim": MetricLine("vitm.metrics.ssim.SSIM"),
    "ssim_kpn": MetricLine("vitm.metrics.ssim.SSIM", "SSIM (KPN)", {"variant": "kpn"}),
    "sr_sim": MetricLine("vitm.metrics.sr_sim.SRSIM"),
    "sr_sim_kpn": MetricLine("vitm.metrics.sr_sim.SRSIM", "SR-SIM (KPN)", {"scale": 1}),
    "delta_e_itp": MetricLine("vitm.metrics.delta_e_itp.DeltaEITP"),
    "delta_e_itp_p95": MetricLine("vitm.metrics.delta_e_itp.DeltaEITP", "dE_ITP 95%", {"reduction": "p95"}),
    "hdr_vdp3": MetricLine("vitm.metrics.hdr_vdp3.HDRVDP3"),
    "hdr_vdp3_kpn": MetricLine(
        "vitm.metrics.hdr_vdp3.HDRVDP3", "VDP3 Q (KPN)", {"config": "kpn_mfi", "quantity": "q"}, unit=""
    ),
    "hdr_vdp3_hdrtvnet": MetricLine(
        "vitm.metrics.hdr_vdp3.HDRVDP3", "VDP3 Q (HDRTVNet)", {"config": "hdrtvnet", "quantity": "q"}, unit=""
    ),
    "hdr_vdp3_hdrtvdm": MetricLine(
        "vitm.metrics.hdr_vdp3.HDRVDP3", "VDP3 Q (HDRTVDM)", {"config": "hdrtvdm", "quantity": "q"}, unit=""
    ),
    "hdr_vqm": MetricLine("vitm.metrics.hdr_vqm.HDRVQM"),
    "color_video_vdp": MetricLine("vitm.metrics.color_video_vdp.ColorVideoVDP"),
    "pu21_psnr": MetricLine("vitm.metrics.pu21_psnr.PU21PSNR"),
    "pu21_psnr_y": MetricLine("vitm.metrics.pu21_psnr.PU21PSNR", "PU21-PSNR Y", {"channels": "y"}),
    "pu21_ssim": MetricLine("vitm.metrics.pu21_ssim.PU21SSIM"),
    "over_exposed": MetricLine(
        "vitm.metrics.masked_l1.MaskedL1",
        "L1 over-exposed",
        {"domain": "mu-law of linear light", "inside": "over-exposed pixels of the input"},
    ),
    "over_exposed_psnr": MetricLine(
        "vitm.metrics.masked_l1.MaskedPSNR",
        "PSNR over-exposed",
        {"domain": "PQ BT.2020", "inside": "over-exposed pixels of the SDR frame", "peak_nits": 10_000.0},
    ),
    "over_exposed_l1": MetricLine(
        "vitm.metrics.masked_l1.MaskedL1",
        "L1 over-exposed (PQ)",
        {"domain": "PQ BT.2020", "inside": "over-exposed pixels of the SDR frame", "peak_nits": 10_000.0},
    ),
    "clipped_flow_error": MetricLine(
        "vitm.metrics.endpoint_error.EndpointError",
        "flow error where clipped",
        {"inside": "clipped in the key and seen by the reference"},
    ),
    "mabd": MetricLine("vitm.metrics.mabd.MABD"),
    "warping_error": MetricLine("vitm.metrics.warping_error.WarpingError"),
    "tof": MetricLine("vitm.metrics.tof.TOF"),
    "flicker": MetricLine("vitm.metrics.flicker.Flicker"),
    "highlight_stability": MetricLine("vitm.metrics.highlight_stability.HighlightStability"),
    "hdr_volume": MetricLine("vitm.metrics.hdr_volume.HDRVolume"),
}

DEFAULT_METRICS = ("psnr", "ssim", "delta_e_itp", "sr_sim", "hdr_vdp3", "mabd", "flicker")

# The metrics of the papers' tables.
TABLES: dict[str, tuple[str, ...]] = {
    "kpn_mfi": ("psnr", "ssim_kpn", "delta_e_itp", "hdr_vdp3_kpn", "mabd"),
    "hdcfm": ("psnr", "ssim", "sr_sim", "delta_e_itp", "hdr_vdp3_hdrtvnet"),
    "dslnet": ("psnr", "sr_sim", "delta_e_itp"),
    "vitm_tc": ("hdr_vdp3", "hdr_vqm"),
}

_FOREIGN: dict[str, MetricValue] = {}  # values of the metrics that this process built by import path


def build_metric(name: str, fps: float | None = None) -> VideoMetric:
    """Return a new metric.

    Args:
        name: name in `METRICS`, or an import path, such as "mypkg.metrics.MyMetric": a subclass of `FrameMetric` or
            `ClipMetric`, or a function without arguments that returns a metric.
        fps: frames a second, for metrics whose value depends on it; None is their default, 25.

    Raises:
        ValueError: for an unknown name, or a path that leads nowhere.
        TypeError: for a path that leads to something else than a metric.
        ImportError: for a metric whose package is not installed.

    Example:
        >>> str(build_metric("ssim_kpn").protocol)
        'kpn, PQ BT.2020, 16-bit, full frame, mean of frames'
    """
    from vitm.metrics.base import VideoMetric

    line = _line(name)
    make = _imported(line.path)
    options = dict(line.options)
    if fps is not None and getattr(make, "needs_fps", False):
        options["fps"] = fps
    metric = make(**options) if callable(make) else make
    if not isinstance(metric, VideoMetric):
        raise TypeError(
            f"{line.path} gives {type(metric).__name__}, which is no metric: expected a subclass of "
            "vitm.metrics.FrameMetric or vitm.metrics.ClipMetric, or a function that returns one"
        )
    metric.values = line.described(name, metric.values)
    if name not in METRICS:
        _FOREIGN.update({value.name: value for value in metric.values})
    return metric


def frame_metrics(names: Sequence[str] = ("psnr", "ssim", "delta_e_itp")) -> MetricCollection:
    """Return the named metrics as one collection, called with (pred, target).

    Args:
        names: names in `METRICS`, or import paths, see `build_metric`. Metrics of clips take (B, T, 3, H, W) only.

    Returns:
        A collection whose `compute()` is a flat dictionary: a value under each name, and for a `ClipMetric` one under
        each of its own names, such as `mabd_pred`, `mabd_gt` and `mse_mabd` for "mabd".

    Raises:
        ValueError: for an unknown name, or two metrics that give a value of the same name.

    Example:
        >>> import torch
        >>> metrics = frame_metrics(("psnr", "delta_e_itp"))
        >>> metrics.update(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.6))
        >>> {name: round(value.item(), 1) for name, value in metrics.compute().items()}
        {'delta_e_itp': 72.0, 'psnr': 20.0}
    """
    from torchmetrics import MetricCollection

    metrics = {name: build_metric(name) for name in names}
    _check_unique(metrics.values())
    by_key: dict[str, Any] = {name if name in METRICS else m.names[0]: m for name, m in metrics.items()}
    # Compute groups merge metrics whose states agree after one update, as all do on a first batch of perfect frames.
    return MetricCollection(by_key, compute_groups=False)


def value_protocols(metrics: Mapping[str, VideoMetric]) -> dict[str, Protocol]:
    """Return how each value is measured, by its name, as `compute` of `frame_metrics` gives it.

    Example:
        >>> list(value_protocols({"mabd": build_metric("mabd")}))
        ['mabd_pred', 'mabd_gt', 'mse_mabd']
    """
    return {value: metric.protocol for metric in metrics.values() for value in metric.names}


def value_info(name: str) -> MetricValue:
    """Return the description of a value by its name; an unknown name is its own title.

    Example:
        >>> value_info("delta_e_itp").direction
        'lower'
    """
    return _described().get(name) or _FOREIGN.get(name) or MetricValue(name, name)


def metric_of(value: str) -> str:
    """Return the name in `METRICS` of the metric that gives a value.

    Raises:
        ValueError: none of them does.

    Example:
        >>> metric_of("mabd_pred"), metric_of("ssim_kpn")
        ('mabd', 'ssim_kpn')
    """
    for name, line in METRICS.items():
        if value in {described.name for described in line.described(name, _imported(line.path).values)}:
            return name
    raise ValueError(f"no metric gives {value!r}; values are {', '.join(_described())}")


def value_order(names: Iterable[str]) -> list[str]:
    """Return names of values in the order in which people read them; unknown names come last, by the alphabet.

    Example:
        >>> value_order(["mabd_pred", "mine", "psnr"])
        ['psnr', 'mabd_pred', 'mine']
    """
    places = {name: place for place, name in enumerate(_described())}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


@cache
def _described() -> dict[str, MetricValue]:
    """Return the values of all metrics in `METRICS`, in their order."""
    lines = [line.described(name, _imported(line.path).values) for name, line in METRICS.items()]
    return {value.name: value for values in lines for value in values}


def _line(name: str) -> MetricLine:
    if name in METRICS:
        return METRICS[name]
    if "." in name:
        return MetricLine(name)
    near = get_close_matches(name, METRICS, n=1)
    expected = f"did you mean {near[0]}? Expected" if near else "expected"
    names = ", ".join(METRICS)
    raise ValueError(f"unknown metric {name!r}: {expected} one of {names}, or an import path such as pkg.metrics.Mine")


def _imported(path: str) -> Any:
    """Return the object behind an import path."""
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another one
        raise ValueError(
            f"metric {path!r}: there is no module {error.name}; install its package, or add its folder to PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise ValueError(f"metric {path!r}: the module {module} has no {attribute}") from error


def _check_unique(metrics: Iterable[VideoMetric]) -> None:
    names = [name for metric in metrics for name in metric.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two metrics give a value named {twice[0]!r}: leave one out, or name its `values` otherwise")
