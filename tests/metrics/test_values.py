"""Every number that a metric gives is described."""

from __future__ import annotations

from vitm.metrics import METRICS, MetricValue, build_metric, value_info, value_order, value_protocols

BUILT = {name: build_metric(name) for name in METRICS if name != "color_video_vdp"}  # which needs a package


def names() -> set[str]:
    return {"over_exposed", "color_video_vdp", *value_protocols(BUILT)}


def test_all_values_are_described() -> None:
    described = [value_info(name) for name in sorted(names())]
    assert not [value for value in described if value == MetricValue(value.name, value.name)]
    assert len({value.heading for value in described}) == len(described)


def test_direction_is_the_metrics() -> None:
    for name, metric in BUILT.items():
        if name in names():
            assert value_info(name).direction == ("higher" if metric.higher_is_better else "lower"), name
    assert {value_info(name).direction for name in ("mabd_pred", "mabd_gt", "warping_error_gt", "ehl_pred")} == {"none"}


def test_unknown_values_are_shown_last() -> None:
    assert value_info("mine") == MetricValue("mine", "mine", "", "none")
    assert value_order(["b", "mabd_gt", "a", "ssim", "psnr"]) == ["psnr", "ssim", "mabd_gt", "a", "b"]
    assert set(value_order(names())) == names()
