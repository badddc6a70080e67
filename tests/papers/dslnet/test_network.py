from __future__ import annotations

import pytest
import torch
from torch import nn

import vitm.ops.tiling
from tests.reference.dslnet import dslnet
from vitm.baselines.window_task import MResNetTask
from vitm.nets.complexity import count_parameters
from vitm.papers.dslnet import DSLNet, DSLNetTask
from vitm.runs.entries import entry_names, find_entry

OFF = {"use_tfm": False, "use_cfm": False, "use_sfm": False}
VARIANTS = [
    {},
    {"alignment": "convs"},
    {"alignment": "none"},
    {"alignment": "none", "radius": 0, **OFF, "without_modulation": "nothing", "residual": "plain", "use_lkqe": False},
    OFF,
    {"dmfa_dynamic": False, "use_lkqe": False, "use_sfm": False},
    {"deform": "v2", "share_modulation": True, "lkrb_order": "eq8", "colorblock": "literal", "use_tfm": False},
    {"radius": 1, "residual": "plain", "use_cfm": False},
]


def network(width=8, spread=0.2, **arguments):
    """A small network with every parameter drawn, those that start at zero too."""
    torch.manual_seed(0)
    made = DSLNet(width=width, **arguments).eval()
    for name, p in made.named_parameters():
        nn.init.normal_(p, std=spread if p.ndim > 1 else 0.1)
        if name.endswith(("depthwise.weight", "stem.2.weight", "tail.0.weight")):
            p.data.mul_(0.1)
    return made


def windows(frames=5, size=(50, 38), batch=1):
    return torch.rand(batch, frames, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 930_941),
        (OFF, 1_029_181),
        ({"alignment": "convs"}, 1_020_803),
        ({"dmfa_dynamic": False}, 930_941 - 54_432 + 64 * 49 + 64),
        ({"use_lkqe": False}, 930_941 - 258_880),
        ({"use_tfm": False}, 930_941 - 49_344),
        ({"use_sfm": False}, 930_941 - 49_536),
        ({"use_cfm": False}, 930_941 - 33_216),
        ({"radius": 3, "share_modulation": True}, 925_345),
    ],
)
def test_parameters_are_those_of_the_papers_tables(arguments, parameters):
    """Tables 1, 4, 5 print 0.93 M, 1.03 M, 1.03 M; the parts are worked out layer by layer from the text."""
    assert count_parameters(DSLNet(**arguments)) == parameters


def test_the_network_is_the_paper_s():
    made = network()
    sdr = windows()
    expected = dslnet(sdr, made.state_dict())
    assert expected.std() > 0.1
    assert (made(sdr) - expected).abs().max() < 5e-5 * expected.std()
    with torch.no_grad():
        assert (made(sdr) - expected).abs().max() < 5e-5 * expected.std()


@pytest.mark.parametrize(
    "arguments", [pytest.param(v, marks=[pytest.mark.slow] if i < 7 else []) for i, v in enumerate(VARIANTS)]
)
def test_bands_of_rows_do_not_change_the_result(arguments, monkeypatch):
    """Height 98 in bands of at most 16 rows, against whole maps; the sizes are odd."""
    made = network(**arguments)
    sdr = windows(2 * made.radius + 1, (97, 35), batch=2)
    whole = made(sdr)
    assert whole.requires_grad
    cut = vitm.ops.tiling.row_bands
    counts = []

    def narrow(height, band, multiple=1):
        counts.append(len(cut(height, 16, multiple)))
        return cut(height, 16, multiple)

    monkeypatch.setattr(vitm.ops.tiling, "row_bands", narrow)
    with torch.no_grad():
        banded = made(sdr)
    assert max(counts) == 7
    assert (banded - whole).abs().max() < 5e-5 * whole.std()


@pytest.mark.parametrize("arguments", VARIANTS[:4])
@pytest.mark.parametrize("length", [1, 2, pytest.param(7, marks=pytest.mark.slow)])
def test_a_stream_is_each_frames_window_with_repeated_ends(arguments, length):
    made = network(**arguments)
    clip = windows(length, (26, 20))
    streamed = list(made.stream(clip.unbind(1)))
    assert len(streamed) == length
    r = made.radius
    for t, frame in enumerate(streamed):
        near = [min(max(s, 0), length - 1) for s in range(t - r, t + r + 1)]
        with torch.no_grad():
            expected = made(clip[:, near])
        assert (frame - expected).abs().max() < 5e-5 * expected.std()


def test_a_stream_computes_each_frames_conditions_once(monkeypatch):
    made = network()
    seen = []
    code = made.modulation.code
    monkeypatch.setattr(made.modulation, "code", lambda frame: seen.append(1) or code(frame))
    assert len(list(made.stream(windows(9, (26, 20)).unbind(1)))) == 9
    assert len(seen) == 9


def test_a_stream_refuses_a_frame_of_another_size():
    frames = [torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 22)]
    with pytest.raises(ValueError, match="frame 1"):
        list(network().stream(frames))


def test_samples_of_a_batch_do_not_mix():
    made = network()
    sdr = windows(batch=3)
    with torch.no_grad():
        together, alone = made(sdr), torch.cat([made(s[None]) for s in sdr])
    assert (together - alone).abs().max() < 5e-5 * alone.std()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", VARIANTS)
def test_gradients_reach_every_parameter(arguments):
    made = network(width=16, **arguments).train()
    made(windows(2 * made.radius + 1, (34, 34), batch=2)).square().mean().backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_a_fresh_network_aligns_and_modulates_by_nothing():
    """Offsets, scales and shifts start at zero: DMFA is a plain convolution."""
    torch.manual_seed(0)
    made = DSLNet(width=8)
    sdr = windows()
    x = sdr.flatten(1, 2)
    expected = torch.relu(torch.nn.functional.conv2d(x, made.align.deform.weight, made.align.deform.bias, padding=1))
    assert torch.allclose(made.align(x), expected, atol=1e-5)
    found = made.modulation.coefficients([made.modulation.code(f) for f in sdr.unbind(1)])
    assert not any(c.any() for c in (found.temporal, *found.channel, *found.spatial))


def test_neighbours_as_differences_do_nothing_where_frames_agree():
    """And elsewhere they filter the differences, from the same weights: a checkpoint fits both forms."""
    torch.manual_seed(0)
    made, plain = DSLNet(width=8, neighbours="differences").align, DSLNet(width=8).align
    plain.load_state_dict(made.state_dict())
    frames = windows().unbind(1)
    weights, bias = made.deform.weight.chunk(5, 1), made.deform.bias
    target = frames[2]
    parts = [x if i == 2 else x - target for i, x in enumerate(frames)]
    expected = sum(torch.nn.functional.conv2d(x, w, padding=1) for x, w in zip(parts, weights, strict=True))
    torch.testing.assert_close(made(torch.cat(frames, 1)), torch.relu(expected + bias[:, None, None]))
    still = torch.relu(torch.nn.functional.conv2d(target, weights[2], bias, padding=1))
    torch.testing.assert_close(made(torch.cat([target] * 5, 1)), still)
    assert not torch.allclose(plain(torch.cat([target] * 5, 1)), still, atol=1e-2)


@pytest.mark.slow
def test_memory_does_not_hold_the_maps_of_every_layer(extra_peak):
    """Inference: two maps of 16 channels, the offsets of 90 and bands; a training pass holds over thirty maps."""
    made = network(width=16)
    sdr = windows(size=(384, 384))
    one_map = 16 * 384 * 384 * 4 / 2**20
    with torch.no_grad():
        banded = extra_peak(lambda: made(sdr))
    whole = extra_peak(lambda: made(sdr))
    assert banded < 16 * one_map
    assert whole > 30 * one_map


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [((1, 4, 3, 32, 32), {}), ((1, 5, 1, 32, 32), {}), ((5, 3, 32, 32), {}), ((1, 5, 3, 16, 32), {})],
)
def test_wrong_shapes_are_named(shape, arguments):
    with pytest.raises(ValueError, match=r"\(B, 5, 3, H, W\)"):
        DSLNet(width=8, **arguments)(torch.rand(shape))


@pytest.mark.parametrize(
    "arguments", [{"alignment": "x"}, {"residual": "x"}, {"radius": -1}, {"kernel_size": 16}, {"colorblock": "x"}]
)
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        DSLNet(**arguments)


def test_half_precision_by_autocast():
    made = network()
    sdr = windows()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = made(sdr).float()
    with torch.no_grad():
        full = made(sdr)
    assert (low - full).abs().mean() < 0.05 * full.std()


def test_table_2_adds_one_part_a_row():
    """From M0 to M7 every row adds what the paper says, and the last is the whole network."""
    rows = ["single_frame", "frame_modulation", "large_kernels", "temporal_modulation"]
    rows += ["spatial_modulation", "alignment", "lkqe", "full"]
    entries = [find_entry(f"dslnet/table2/{r}") for r in rows]
    assert [entry.row for entry in entries] == [f"M{i}" for i in range(8)]
    made = [DSLNet(**entry.change.get("model", {})) for entry in entries]
    has = [
        [m.modulation is not None and m.modulation.cme is not None for m in made],
        ["LKRB" in type(m.blocks[0]).__name__ for m in made],
        [m.modulation is not None and m.modulation.tme is not None for m in made],
        [m.modulation is not None and m.modulation.sme is not None for m in made],
        [type(m.align).__name__ == "DMFA" for m in made],
        [m.enhance_head is not None for m in made],
        [type(getattr(m.align, "middle", None)).__name__ == "DynamicDepthwise" for m in made],
    ]
    assert has == [[i > part for i in range(8)] for part in range(7)]
    assert [m.radius for m in made] == [0, 0, 0, 2, 2, 2, 2, 2]


def test_entries_are_every_row_of_the_tables():
    found = {e for e in entry_names() if e.startswith("dslnet")}
    assert len([e for e in found if "/table2/" in e]) == 8
    assert {"dslnet", "dslnet/table3/mresnet", "dslnet/table4/no_alignment", "dslnet/table5/no_modulation"} <= found


def test_learning_rate_follows_the_paper():
    """5e-4, halved every 50,000 steps until 150,000, then every 40,000."""
    task = DSLNetTask(width=8)
    made = task.configure_optimizers()
    scheduler = made["lr_scheduler"]["scheduler"]
    rates = {49_999: 5e-4, 50_000: 2.5e-4, 150_000: 6.25e-5, 190_000: 3.125e-5, 349_999: 3.90625e-6}
    for step, rate in rates.items():
        scheduler.last_epoch = step
        assert scheduler._get_closed_form_lr() == [pytest.approx(rate)]


def test_mresnet_stacks_five_frames():
    task = MResNetTask(frames=5)
    assert count_parameters(task.network) == 1_376_771
    assert task.clip_frames == 5


def test_a_task_that_needs_more_frames_than_a_batch_has_says_so():
    task = DSLNetTask(width=8)
    with pytest.raises(ValueError, match=r"data\.radius to 2"):
        task.training_step({"sdr": torch.rand(1, 3, 3, 32, 32), "hdr_pq": torch.rand(1, 3, 32, 32), "name": ["a"]}, 0)
