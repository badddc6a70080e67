"""Networks by name. To list them loads no torch; to load one imports its own file alone."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vitm.weights import SHIPPED as SHIPPED
from vitm.weights import shipped_weights as shipped_weights

if TYPE_CHECKING:
    from torch import nn


class Listed(NamedTuple):
    """Where a network of the zoo is.

    Attributes:
        network: import path of its class.
        published: import path of the function that reads the authors' released file, where there is one.
        learned: whether it has parameters, which come from a checkpoint.
    """

    network: str
    published: str | None = None
    learned: bool = True


NETWORKS = {
    "ada_3dlut": Listed("vitm.baselines.ada_3dlut.Ada3DLUT", "vitm.baselines.published.ada_3dlut"),
    "adaint": Listed("vitm.baselines.adaint.AdaInt", "vitm.baselines.published.adaint"),
    "basicvsr_pp": Listed("vitm.baselines.basicvsr_pp.BasicVSRPP", "vitm.baselines.published.basicvsr_pp"),
    "clues": Listed("vitm.papers.vitm_tc.clues.Clues", learned=False),
    "csrnet": Listed("vitm.baselines.csrnet.CSRNet"),
    "cyclegan": Listed("vitm.baselines.cyclegan.CycleGAN", "vitm.baselines.published.cyclegan"),
    "deep_sr_itm": Listed("vitm.baselines.deep_sr_itm.DeepSRITM"),
    "deep_vitm": Listed("vitm.baselines.deep_vitm.DeepVITM"),
    "deephdr": Listed("vitm.baselines.deephdr.DeepHDR", "vitm.baselines.published.deephdr"),
    "diff_hdr": Listed("vitm.baselines.diff_hdr.DiffHDR"),
    "dslnet": Listed("vitm.papers.dslnet.network.DSLNet"),
    "fmnet": Listed("vitm.baselines.fmnet.FMNet"),
    "hdcfm": Listed("vitm.papers.hdcfm.network.HDCFM", "vitm.papers.hdcfm.published.from_published"),
    "hdrcnn": Listed("vitm.baselines.hdrcnn.HDRCNN", "vitm.baselines.published.hdrcnn"),
    "hdrnet": Listed("vitm.baselines.hdrnet.HDRNet"),
    "hdrtvdm": Listed("vitm.baselines.hdrtvdm.LSN", "vitm.baselines.published.hdrtvdm"),
    "hdrtvnet": Listed("vitm.baselines.hdrtvnet.HDRTVNet", "vitm.baselines.published.hdrtvnet"),
    "hdrtvnet_plus": Listed("vitm.baselines.hdrtvnet_plus.HDRTVNetPlus", "vitm.baselines.published.hdrtvnet_plus"),
    "hdrunet": Listed("vitm.baselines.hdrunet.HDRUNet", "vitm.baselines.published.hdrunet"),
    "huo": Listed("vitm.nets.analytic.HuoPhysEO", learned=False),
    "jsi_net": Listed("vitm.baselines.jsi_net.JSInet"),
    "kovaleski": Listed("vitm.nets.analytic.KovaleskiOliveira", learned=False),
    "kpn_itm": Listed("vitm.baselines.kpn_itm.KPNiTM"),
    "kpn_mfi": Listed("vitm.papers.kpn_mfi.network.KPNMFI", "vitm.papers.kpn_mfi.published.from_published"),
    "operator_map": Listed("vitm.papers.scene_map.operator_map.OperatorMap"),
    "pdcg": Listed("vitm.papers.hdcfm.pdcg.HDCFMPDCG"),
    "pixel2pixel": Listed("vitm.baselines.pixel2pixel.Pixel2Pixel", "vitm.baselines.published.pixel2pixel"),
    "scene_map": Listed("vitm.papers.scene_map.network.SceneMap"),
    "single_hdr": Listed("vitm.baselines.single_hdr.SingleHDR"),
    "srresnet": Listed("vitm.baselines.srresnet.SRResNet"),
    "vitm_tc": Listed("vitm.papers.vitm_tc.network.VITMTC"),
}
OPERATORS = ("bt2446a", "bt2446c", "hable", "reinhard", "clip")
"""The analytic operators: `vitm.color.METHODS`, which only torch can import."""


def needs_no_weights() -> list[str]:
    """Return the names that convert without a checkpoint.

    Example:
        >>> needs_no_weights()[:3]
        ['default', 'free_map', 'temporal']
    """
    return [*SHIPPED, *(name for name, listed in NETWORKS.items() if not listed.learned), *OPERATORS]


def list_networks(pattern: str = "*") -> list[str]:
    """Return the names that `load_network` knows: what comes with its weights, the networks, the analytic operators.

    Args:
        pattern: a shell pattern, such as `"hdr*"`.

    Example:
        >>> list_networks("hdrtv*")
        ['hdrtvdm', 'hdrtvnet', 'hdrtvnet_plus']
        >>> list_networks("bt2446?")
        ['bt2446a', 'bt2446c']
    """
    return [name for name in (*SHIPPED, *NETWORKS, *OPERATORS) if fnmatchcase(name, pattern)]


def network_class(name: str) -> type[nn.Module]:
    """Return the class of a network.

    Args:
        name: a name of `NETWORKS`, or the import path of a class: `"mypackage.networks.MyNetwork"`.

    Raises:
        ValueError: the name is unknown, or there is no such class.
    """
    if name in NETWORKS:
        network = _imported(NETWORKS[name].network)
    elif "." in name:
        try:
            network = _imported(name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no network class {name}: {error}") from error
    else:
        raise ValueError(
            f"unknown network {name!r}; known: {', '.join(list_networks())}, or the import path of a class "
            "(package.module.Class)"
        )
    if not isinstance(network, type):
        raise ValueError(f"{name} is no class of a network, but a {type(network).__name__}")
    return network


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network that are given, not None; raise a ValueError for one that it does not take."""
    given = {option: value for option, value in options.items() if value is not None}
    network = SHIPPED[name][0] if name in SHIPPED else name
    taken = signature(network_class(network)).parameters if given and name not in OPERATORS else {}
    for option, value in given.items():
        if option not in taken:
            reason = "estimates no optical flow" if option.startswith("flow") else f"has no argument {option}"
            raise ValueError(f"{name} {reason}: leave out {option}='{value}'")
    return given


def load_network(
    name: str, checkpoint: str | Path | None = None, flow_weights: str | Path | None = None, **options: Any
) -> nn.Module:
    """Load a network, in eval mode.

    Args:
        name: a name of `list_networks()`: `"default"` or `"temporal"`, which come with their weights; a network
            (`"pdcg"` is HDCFM and PDCG after it); or an analytic operator, which needs no checkpoint. Or the import
            path of a network class: `"mypackage.networks.MyNetwork"`.
        checkpoint: a local file: a checkpoint of a run (its constructor arguments are in the file), the authors'
            released file (a folder, where they released several), or a plain state dict. None gives an untrained
            network with the paper's arguments.
        flow_weights: file with the weights of the network's optical flow, where it has one that needs them.
        **options: other arguments of the network's class, which win over those in the checkpoint, such as
            `flow="aligned"`; None: as they are there.

    Returns:
        The network, sdr -> hdr_pq of the same shape: `kpn_mfi` (B, T, 3, H, W); `hdcfm`, `pdcg` and the baselines
        (B, 3, H, W); operators any number of leading dimensions. `dslnet` converts the middle frame of
        (B, 5, 3, H, W), and clips by `stream`. To linear light: `vitm_tc` and `basicvsr_pp` (B, T, 3, H, W); `hdrcnn`,
        `single_hdr` and `diff_hdr` (B, 3, H, W); `deep_vitm`, like `dslnet`, the middle frame.
        BT.709 gamma code in, BT.2020 PQ code out, both [0, 1], not clamped.

    Raises:
        ValueError: the name is unknown, an operator is given a checkpoint, or a network an option that it does not
            take.
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds another network.

    Example:
        >>> import torch
        >>> load_network("hable")(torch.ones(3, 1, 1)).shape
        torch.Size([3, 1, 1])
    """
    options = check_options(name, {"flow_weights": flow_weights and str(flow_weights), **options})
    if name in OPERATORS:
        from vitm.nets.analytic import Analytic

        if checkpoint is not None:
            raise ValueError(f"{name} is an analytic operator and takes no checkpoint, got {checkpoint}")
        return Analytic(name).eval()
    if name in SHIPPED:
        if checkpoint is not None:
            raise ValueError(
                f"{name} comes with its weights and takes no checkpoint, got {checkpoint}; for other weights of the "
                f"same network say {SHIPPED[name][0]}"
            )
        name, checkpoint = SHIPPED[name][0], shipped_weights(name)
    network = network_class(name)
    if checkpoint is None:
        return network(**options).eval()

    import torch

    from vitm.checkpoints import rebuild_network

    listed = NETWORKS.get(name)
    published = _imported(listed.published) if listed is not None and listed.published is not None else None
    rebuilt = rebuild_network(checkpoint, name, network, published, **options)
    return rebuilt.to(memory_format=torch.channels_last).eval()


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
