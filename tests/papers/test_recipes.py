"""Every recipe beside a transcription of the papers, and of the released code where they are silent.

Nothing here is read from a recipe: what changes in a YAML file, or in the defaults of a task, has to change here too.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from vitm.runs.entries import entry_names, find_entry

ADAM = [0.9, 0.999]  # PyTorch's own betas, where a paper says "Adam" and no more
HDRTVNET_ADAM = [0.9, 0.99]  # the betas of HDRTVNet's configurations, which HDCFM builds on
EVERY_200K = [200_000, 400_000, 600_000, 800_000]  # HDCFM, section 4.1, of 1,000,000 iterations
# DSLNet, Training Details: every 50k iterations until 150k, then every 40k; 350k is the end.
DSLNET_HALVINGS = [*range(50_000, 150_001, 50_000), *range(190_000, 350_000, 40_000)]

KPN_MFI_TABLE = ["psnr", "ssim", "ssim_kpn", "delta_e_itp", "hdr_vdp3_kpn", "mabd"]  # its columns, and plain SSIM
HDCFM_TABLE = ["psnr", "ssim", "sr_sim", "delta_e_itp", "hdr_vdp3_hdrtvnet"]
HDRTVDM_METRICS = ["psnr", "ssim", "delta_e_itp", "hdr_vdp3_hdrtvdm"]
DSLNET_TABLE = ["psnr", "sr_sim", "delta_e_itp"]

# KPN-MFI retrained its baselines and does not say how: as KPN-MFI. DSLNet, Table 1: as DSLNet.
AS_KPN_MFI = {"lr": 5e-4, "betas": ADAM, "schedule": "constant", "test_metrics": KPN_MFI_TABLE}
AS_HDCFM = {"lr": 5e-4, "betas": HDRTVNET_ADAM, "schedule": "halving", "milestones": EVERY_200K}
AS_HDCFM |= {"test_metrics": HDCFM_TABLE}
AS_DSLNET = {"lr": 5e-4, "betas": ADAM, "schedule": "halving", "milestones": DSLNET_HALVINGS}
BESIDE_DSLNET = {**AS_DSLNET, "test_metrics": DSLNET_TABLE}
AS_VITM_TC = {"lr": 2e-4, "betas": ADAM, "schedule": "cosine"}  # section 4.1
AS_VITM_TC |= {"test_metrics": ["psnr", "pu21_psnr", "hdr_vdp3", "hdr_vqm", "warping_error"]}

SPECIFIED: dict[str, dict[str, dict[str, Any]]] = {
    "kpn_mfi": {
        "model": {
            "width": 64,  # Figure 1
            "trunk": [5, 7, 12, 7, 5],  # meets 3.3735 M and 29.0289 G of Table 1
            "kernel_size": 5,  # released code
            "alpha": 0.05,  # section 3.3
            "flow": "dis",  # LiteFlowNet3 in the paper, whose weights are for research alone
            "lr": 5e-4,  # from here on: released code
            "betas": ADAM,
            "schedule": "constant",
            "test_metrics": KPN_MFI_TABLE,
        },
        # Section 4.1: 1024 x 1024 with overlap, 13.15 of a triplet; a stride of 704 gives 5 x 3 of 3840 x 2160.
        "data": {"crop_size": 256, "batch_size": 8, "tile_size": 1024, "tile_stride": 704},
        "trainer": {"max_epochs": -1, "max_steps": 500 * (3241 // 8)},  # released code; 3,241 triplets: section 4.1
    },
    "hdcfm": {
        "model": {
            **{"global_mod": True, "dyct": True, "context": True, "local_mod": True},  # Table 2, M1 + M2 + M4
            **{"dyct_order": "released", "modulation": "released", "kernels": "released", "pooling": "average"},
            "init": "default",
            **AS_HDCFM,
        },
        "data": {"crop_size": 480, "batch_size": 4, "tile_size": 480},  # section 4.1; HDRTVNet
        "trainer": {"max_steps": 1_000_000},  # section 4.1
    },
    "hdcfm/pdcg": {
        "model": {
            **{"width": 64, "blocks": 16, "upsample": "nearest", "mask": "frame"},  # 16 blocks: section 3.3
            **{"l1_weight": 1.0, "perceptual_weight": 0.5, "gan_weight": 0.005},  # equation 4
            **{"gan": "vanilla", "vgg_layer": "conv5_4"},
            **{"lr": 1e-4, "betas": HDRTVNET_ADAM, "schedule": "constant", "ema_decay": 0.999},
            "test_metrics": HDCFM_TABLE,
        },
        "data": {
            "crop_size": 160,
            "batch_size": 16,
            "tile_size": 480,
        },  # HDRTVNet
        "trainer": {"max_steps": 400_000},
    },
    "dslnet": {
        "model": {
            **{"radius": 2, "alignment": "dmfa", "dmfa_dynamic": True, "residual": "lk", "use_lkqe": True},
            **{"use_cfm": True, "use_tfm": True, "use_sfm": True, "without_modulation": "convs"},
            **AS_DSLNET,
        },
        "data": {"crop_size": 256, "batch_size": 8},
        "trainer": {"max_steps": 350_000},
    },
    "vitm_tc/icam": {
        "model": {
            **{"widths": [48, 64, 96, 128, 192], "align": "dcn", "use_global": True, "propagation": "none"},
            **{"clues_per_direction": 6, "clue_stride": 15, "flow": "dis"},  # section 4.1; GMA in the paper
            **{"perceptual_weight": 0.1, "flow_weight": 0.05},  # equation 8
            **{"lr": 2e-4, "betas": ADAM, "schedule": "cosine"},  # section 4.1; the rest is not in the paper
            **{"every": 15, "test_metrics": ["psnr", "pu21_psnr", "hdr_vdp3"]},
        },
        "data": {"sampling": "references", "size": 512, "crop_size": 384, "batch_size": 4, "frames": 181},
        "trainer": {"max_steps": 200_000},
    },
    "vitm_tc/fcpm": {
        "model": {
            **{"key_stride": 6, "clues_per_direction": 6, "clue_stride": 15},  # section 4.1
            **{"neighbours": 5, "propagation": "both", "exposure_match": True},  # section 3.4, Table 3
            **{"perceptual_weight": 0.1, "gan_weight": 0.05},  # equation 13
            **{"lr": 2e-4, "betas": ADAM, "schedule": "cosine"},
            "test_metrics": ["psnr", "pu21_psnr", "hdr_vdp3", "hdr_vqm", "warping_error"],
        },
        "data": {"sampling": "window", "size": 512, "crop_size": 384, "batch_size": 4, "frames": 181},
        "trainer": {"max_steps": 100_000},
    },
    "hdrtvnet_plus": {
        "model": {"agcm": True, "le": True, "width": 32, **AS_HDCFM},
        "data": {"crop_size": 480, "batch_size": 4, "tile_size": 480},
        "trainer": {"max_steps": 1_000_000},
    },
    "hdrtvdm": {  # width and threshold: released; the recipe is HDRTVNet++'s, since the authors released none
        "model": {"width": 32, "threshold": 0.7611, **AS_HDCFM, "test_metrics": HDRTVDM_METRICS},
        "data": {"crop_size": 480, "batch_size": 4, "tile_size": 480},
        "trainer": {"max_steps": 1_000_000},
    },
    # Networks that the papers compare with.
    "kpn_mfi/table1/deephdr": {"model": {**AS_KPN_MFI, "widths": [64, 128, 256, *[512] * 4], "mfi": False}},
    "kpn_mfi/table1/kpn_itm": {
        "model": {**AS_KPN_MFI, "widths": [64, 128, 256, 256, 512, 512], "kernel_size": 3, "mfi": False}
    },
    "kpn_mfi/table1/hdrunet": {"model": {**AS_KPN_MFI, "width": 64, "blocks": [2, 8, 2], "mfi": False}},
    "kpn_mfi/table1/hdrtvnet": {"model": {**AS_KPN_MFI, "width": 64, "blocks": 16, "highlights": 64}},
    **{  # the authors' code: Isola et al., CVPR 2017, and Zhu et al., ICCV 2017, section 4 and appendix 7.1
        f"hdcfm/table1/{name}": {
            "model": {"lr": 2e-4, "betas": [0.5, 0.999], "schedule": "linear", "test_metrics": HDCFM_TABLE},
            "data": {"crop_size": 256, "batch_size": 1},
        }
        for name in ("pixel2pixel", "cyclegan")
    },
    # HDRTVNet's local enhancement, whose recipe its other rows of Table 1 do not share.
    "hdcfm/table1/resnet": {
        "model": {**AS_HDCFM, "lr": 2e-4, "width": 64, "blocks": 16},
        "data": {"crop_size": 160, "batch_size": 16},
    },
    "hdcfm/table1/csrnet": {"model": {**AS_HDCFM, "width": 64, "conditions": 32}},
    "hdcfm/table1/hdrtvnet": {"model": {**AS_HDCFM, "width": 64, "blocks": 16}},
    "dslnet/table1/resnet": {
        "model": {**BESIDE_DSLNET, "width": 64, "blocks": 16},
        "data": {"radius": 0},
    },
    "dslnet/table1/csrnet": {
        "model": {**BESIDE_DSLNET, "width": 64, "conditions": 32},
        "data": {"radius": 0},
    },
    "dslnet/table1/hdrtvnet": {
        "model": {**BESIDE_DSLNET, "width": 64, "blocks": 16},
        "data": {"radius": 0},
    },
    "dslnet/table3/mresnet": {"model": {**AS_DSLNET, "frames": 5, "width": 64, "blocks": 16}},
}
ROWS: dict[str, dict[str, Any]] = {  # rows of ablations, by what differs from the row that they change
    "kpn_mfi/table2/mfi_deephdr": {"mfi": True},
    "kpn_mfi/table2/mfi_kpn_itm": {"mfi": True},
    "kpn_mfi/table2/mfi_hdrunet": {"mfi": True},
    "kpn_mfi/table3/no_mfi": {"use_mfi": False, "alpha": 0.0},
    "kpn_mfi/table3/no_consistency": {"alpha": 0.0},
    "hdcfm/table2/global_only": {"local_mod": False, "dyct": False, "context": False},
    "hdcfm/table2/global_dyct": {"local_mod": False, "context": False},
    "hdcfm/table2/no_local": {"local_mod": False},
    "hdcfm/table2/no_global": {"global_mod": False},
    "dslnet/table2/single_frame": {
        **{"radius": 0, "alignment": "none", "use_cfm": False, "use_tfm": False, "use_sfm": False},
        **{"without_modulation": "nothing", "residual": "plain", "use_lkqe": False},
    },
    "dslnet/table2/frame_modulation": {
        **{"radius": 0, "alignment": "none", "use_tfm": False, "use_sfm": False},
        **{"residual": "plain", "use_lkqe": False},
    },
    "dslnet/table2/large_kernels": {
        **{"radius": 0, "alignment": "none", "use_tfm": False, "use_sfm": False, "use_lkqe": False},
    },
    "dslnet/table2/temporal_modulation": {"alignment": "none", "use_sfm": False, "use_lkqe": False},
    "dslnet/table2/spatial_modulation": {"alignment": "none", "use_lkqe": False},
    "dslnet/table2/alignment": {"use_lkqe": False, "dmfa_dynamic": False},
    "dslnet/table2/lkqe": {"dmfa_dynamic": False},
    "dslnet/table4/no_alignment": {"alignment": "convs"},
    "dslnet/table5/no_modulation": {"use_cfm": False, "use_tfm": False, "use_sfm": False},
    "vitm_tc/icam/table2/no_alignment": {"align": "none", "use_global": False},
    "vitm_tc/icam/table2/pretrained_flow": {"align": "flow", "use_global": False},
    "vitm_tc/icam/table2/corrected_flow": {"align": "corrected", "use_global": False},
    "vitm_tc/icam/table2/guided_deformation": {"use_global": False},
    "vitm_tc/fcpm/table3/warp": {"propagation": "warp"},
    "vitm_tc/fcpm/table3/forward": {"propagation": "forward"},
    "vitm_tc/fcpm/table3/backward": {"propagation": "backward"},
}
AS_THE_PAPER = {"kpn_mfi": AS_KPN_MFI, "hdcfm": AS_HDCFM, "dslnet": BESIDE_DSLNET, "vitm_tc/fcpm": AS_VITM_TC}
OF_OUR_OWN = ("open/", "vitm_tc/ours")  # no paper to compare with


@pytest.mark.parametrize("name", SPECIFIED)
def test_a_recipe_is_what_the_paper_says(name: str) -> None:
    recipe, specified = find_entry(name).config(demo=False), SPECIFIED[name]
    assert recipe["model"] == specified["model"]
    for section in ("data", "trainer"):
        expected = specified.get(section, {})
        assert {key: recipe[section].get(key) for key in expected} == expected


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_an_ablation_changes_what_the_paper_says(name: str) -> None:
    entry = find_entry(name)
    assert entry.change == {"model": ROWS[name]}
    assert entry.config(demo=False)["model"] == entry.base.config(demo=False)["model"] | ROWS[name]  # type: ignore[union-attr]


def own_recipes() -> set[str]:
    """Entries with a recipe of their own: not those that share a run, or go on from another first stage alone."""
    return {
        name
        for name in entry_names()
        if not (entry := find_entry(name)).missing
        and not entry.shared
        and not name.startswith(OF_OUR_OWN)
        and "/readings/" not in name  # what the papers leave open: test_readings.py
        and (entry.base is None or entry.change.get("model"))
    }


def test_all_recipes_are_transcribed() -> None:
    """But for what a paper compares with, and that learns as the paper's own network, or not at all."""
    # ICAM on every frame: what it measures, not what it learns. Clues without a network: there is nothing to learn.
    rows_of_other_tasks = {"vitm_tc/fcpm/table3/no_fcpm", "vitm_tc/clues"}
    transcribed = {*SPECIFIED, *ROWS} | rows_of_other_tasks
    assert transcribed <= own_recipes()
    for name in own_recipes() - transcribed:
        assert find_entry(name).task.startswith("vitm.baselines."), name
        model, table = find_entry(name).config(demo=False)["model"], AS_THE_PAPER[name.split("/table")[0]]
        if model.keys() == {"test_metrics"}:
            table = {"test_metrics": table["test_metrics"]}  # an operator learns nothing
        differing = {key for key in table if model.get(key) != table[key]}
        assert differing <= {"lr"}, name  # a rate of its own is its authors'


@pytest.mark.parametrize("name", [name for name in SPECIFIED if "table" not in name])
def test_the_defaults_of_a_task_are_its_recipe(name: str) -> None:
    """A task that is made in Python, without a YAML file, learns as the paper says too."""
    entry = find_entry(name)
    defaults = {k: p.default for k, p in inspect.signature(entry.load_task().__init__).parameters.items()}
    expected = {k: v for k, v in SPECIFIED[name]["model"].items() if k in defaults and k != "test_metrics"}
    given = {k: list(defaults[k]) if isinstance(defaults[k], tuple) else defaults[k] for k in expected}
    assert given == expected
    assert len(expected) >= (2 if name == "hdrtvdm" else 3)  # its network has two options
