"""The entries: that they parse, change what they are about and no more, and carry what the papers print."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

import pytest
import torch
import yaml

from tests.runs.conftest import run as main
from vitm.runs.entries import entry_names, experiments_folder, find_entry, find_table, table_names
from vitm.runs.options import as_flags
from vitm.runs.overrides import entry_parser, overrides, recipe_changes

RUNNABLE = [name for name in entry_names() if not find_entry(name).missing]


def base_of(name):
    """The entry that a row changes; itself, where it is no row or another network."""
    entry = find_entry(name)
    return entry.base.name if entry.base and entry.base.task == entry.task else name


ROWS = [name for name in RUNNABLE if base_of(name) != name]
CHANGED = [name for name in ROWS if not find_entry(name).shared]

NAMES_OF_BEFORE = {  # table -> rows
    "": "dslnet hdcfm hdcfm/pdcg hdrtvnet_plus kpn_mfi vitm_tc/fcpm vitm_tc/icam",
    "dslnet/table1": "ada_3dlut adaint csrnet full hdrtvnet resnet sr_itm",
    "dslnet/table2": (
        "alignment frame_modulation full large_kernels lkqe single_frame spatial_modulation temporal_modulation"
    ),
    "dslnet/table3": "full mresnet",
    "dslnet/table4": "full no_alignment",
    "dslnet/table5": "full no_modulation",
    "hdcfm/table1": (
        "ada_3dlut csrnet cyclegan deep_sr_itm full hdrnet hdrtvnet huo jsi_gan kovaleski pixel2pixel resnet"
    ),
    "hdcfm/table2": "full global_dyct global_only no_global no_local",
    "kpn_mfi/table1": "deephdr full hdrtvnet hdrunet huo jsinet kpn_itm sr_itm",
    "kpn_mfi/table2": "deephdr hdrunet kpn_itm mfi_deephdr mfi_hdrunet mfi_kpn_itm",
    "kpn_mfi/table3": "full no_consistency no_mfi",
    "vitm_tc/fcpm/table1": "basicvsr_pp deep_video_itm differentiable_hdr fmnet full hdrcnn single_hdr",
    "vitm_tc/fcpm/table2": "corrected_flow full guided_deformation no_alignment pretrained_flow",
    "vitm_tc/fcpm/table3": "backward forward full no_fcpm warp",
    "vitm_tc/icam/table2": "corrected_flow full guided_deformation no_alignment pretrained_flow",
}


def test_every_name_of_before_there_was_one_file_a_table_is_an_entry():
    """People have typed them, and their runs lie in folders of these names."""
    names = {f"{table}/{row}".lstrip("/") for table, rows in NAMES_OF_BEFORE.items() for row in rows.split()}
    assert len(names) == 84
    assert names <= set(entry_names())


def test_a_table_has_its_rows_in_the_papers_order():
    assert [row.name.rpartition("/")[2] for row in find_table("kpn_mfi/table2").rows][:3] == [
        *("deephdr", "mfi_deephdr", "kpn_itm"),
    ]
    assert find_table("kpn_mfi/table2").title == "KPN-MFI (IJCAI 2022), Table 2"
    for table in table_names():
        assert all(row.row for row in find_table(table).rows), table


def test_a_row_has_its_own_size_or_none():
    """Not that of the network which it changes, or beside which it stands; a shared run has that of its entry."""
    assert (find_entry("kpn_mfi").parameters_m, find_entry("kpn_mfi").gmacs) == (Decimal("3.3735"), Decimal("29.0289"))
    for name in ("kpn_mfi/table1/huo", "kpn_mfi/table3/no_mfi", "kpn_mfi/table2/mfi_deephdr", "hdcfm/table2/no_local"):
        assert find_entry(name).parameters_m is find_entry(name).gmacs is None, name
        assert "gmacs" not in find_entry(name).about
    assert find_entry("kpn_mfi/table3/full").gmacs == Decimal("29.0289")


def test_all_digits_of_the_paper_are_kept():
    results = find_entry("kpn_mfi").results
    assert {name: str(number) for name, number in results.items()} == {
        "psnr": "37.7260",
        "ssim_kpn": "0.9856",
        "delta_e_itp": "9.1975",
        "hdr_vdp3_kpn": "8.5516",
        "mabd_pred": "0.0119",
    }
    assert str(find_entry("hdcfm/table1/kovaleski").results["delta_e_itp"]) == "28.00"


def test_the_path_of_one_of_our_files_is_its_name():
    folder = experiments_folder()
    assert find_entry(str(folder / "kpn_mfi/base.yaml")).name == "kpn_mfi"
    assert find_entry(f"{folder}/kpn_mfi/table3.yaml/no_mfi").name == "kpn_mfi/table3/no_mfi"
    assert find_table(str(folder / "kpn_mfi/table3.yaml")).name == "kpn_mfi/table3"


def fast(names, *, of):
    """Parameters of a test, all but those of one table slow: together they take minutes."""
    return [pytest.param(name, marks=[] if name.startswith(of) else [pytest.mark.slow]) for name in names]


@pytest.fixture(scope="module")
def known():
    """Configurations that were resolved before."""
    return {}


@pytest.fixture
def resolve(known, capsys):
    """Entry and options -> the configuration that a run would have, as section -> option -> value."""

    def resolved(name, *options):
        if (name, *options) not in known:
            known[name, *options] = ask(name, *options)
        return known[name, *options]

    def ask(name, *options):
        capsys.readouterr()
        earlier = [x for option in find_entry(name).after for x in (f"--{option}", "first.ckpt")]
        with pytest.raises(SystemExit) as stop:
            main([name, "--data.root", "DATA", *earlier, *options, "--print_config"])
        out, err = capsys.readouterr()
        assert stop.value.code in (0, None), err
        config = yaml.safe_load(out)
        del config["entry"]
        return config

    return resolved


@pytest.mark.parametrize("name", fast(RUNNABLE, of="kpn_mfi/table3"))
def test_every_file_parses_against_the_signatures(name, resolve):
    """The recipe, the row and the overlay for demo data; each key has arrived."""
    entry = find_entry(name)
    demo = resolve(name, *as_flags(entry.config(demo=True)))
    for asked, got in ((entry.config(demo=False), resolve(name)), (entry.config(demo=True), demo)):
        for section in ("model", "data", "trainer"):
            for key, value in asked.get(section, {}).items():
                assert_same(got[section][key], value, f"{name}: {section}.{key}")
    assert resolve(name)["seed_everything"] == 0
    different = overrides(entry_parser(entry), entry.recipe, resolve(name))
    assert not recipe_changes(different, entry)  # what a table calls the entry's own


def assert_same(got, value, where):
    """A dictionary may have been completed by defaults."""
    if isinstance(value, dict):
        for key in value:
            assert_same(got[key], value[key], f"{where}.{key}")
    else:
        assert got == value, where


@pytest.mark.parametrize("name", fast(ROWS, of="kpn_mfi/table3"))
def test_a_row_differs_from_its_base_in_what_it_is_about(name, resolve):
    """In the options that its file names, all of them and no others, once everything is resolved."""
    theirs, ours = resolve(base_of(name)), resolve(name)
    assert ours["seed_everything"] == theirs["seed_everything"]
    sections = ("model", "data", "trainer")
    different = {(x, k) for x in sections for k in ours[x] if ours[x][k] != theirs[x].get(k)}
    change = find_entry(name).change
    assert different == {(section, key) for section in change for key in change[section]}


def test_rows_that_share_a_base_differ_from_each_other():
    seen = {}
    for name in CHANGED:
        table = name.rpartition("/")[0]
        changes = (table, base_of(name), str(find_entry(name).change.get("model")), str(find_entry(name).after))
        assert changes not in seen, f"{name} is {seen.get(changes)}"
        seen[changes] = name


def clip_for(task):
    """A clip that the network takes, with texture that moves and is clipped."""
    torch.manual_seed(1)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    length = 9 if task.name == "vitm_tc" else task.clip_frames or 1
    frames = [torch.sin((x + 2 * t) / 3) * torch.cos((y - t) / 4) for t in range(length)]
    clip = torch.stack(frames)[:, None].expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    clip = 0.6 + 0.6 * clip
    if task.name == "vitm_tc":  # whose exposure changes
        clip = clip * torch.tensor([1.0, 0.7, 0.85]).repeat(length)[:length, None, None, None]
    clip = clip.clamp(0, 1)[None]
    return clip if task.clip_frames or task.name == "vitm_tc" else clip[:, 0]


def network_arguments(name):
    """The options of a row that are arguments of its network, or of the first stage that it goes on from."""
    entry = find_entry(name)
    stages = entry.after.values() if entry.base and entry.after != entry.base.after else ()
    own = set(entry.change.get("model", {})) - OF_NO_NETWORK
    return own.union(*(network_arguments(stage) for stage in stages))


OF_NO_NETWORK = {  # options of losses, of the schedule and of the measurement
    *("alpha", "every", "test_metrics", "reduction", "content", "consistency", "log_first", "luma", "gan", "patches"),
    *("vgg_layer", "ema_decay", "milestones", "init", "pixel", "flow_frames"),
}
SWITCHED = [n for n in CHANGED if network_arguments(n)]


@pytest.mark.parametrize("name", fast(SWITCHED, of="kpn_mfi/table3"))
def test_the_switches_of_a_row_change_the_network(name, tiny_of, resolve):
    """Weights of other shapes; or with the same weights, another result."""
    typed = {option.removeprefix("--model.") for option in tiny_of(name) if option.startswith("--model.")}
    if network_arguments(name) <= typed:
        pytest.skip("the small networks of these tests have the same value")

    def build(entry):
        torch.manual_seed(0)
        model = resolve(entry, *tiny_of(entry))["model"]
        task = find_entry(entry).load_task()(**model)
        return task.eval()

    base, row = build(base_of(name)), build(name)
    shapes = [{k: v.shape for k, v in task.network.state_dict().items()} for task in (base, row)]
    assert network_arguments(name) <= row.arguments.keys()
    if shapes[0] != shapes[1]:
        return
    generator = torch.Generator().manual_seed(0)
    weights = {
        k: v + 0.05 * torch.randn(v.shape, generator=generator) if v.is_floating_point() else v
        for k, v in base.network.state_dict().items()
    }
    for task in (base, row):
        task.network.load_state_dict(weights)
    with torch.no_grad():
        ours, theirs = (task.network(clip_for(task)) for task in (row, base))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() > 1e-4


# The tables as the notes on the papers print them: columns, and names of rows that differ from those of the entries.
METRICS = {
    "kpn_mfi": {"SSIM": "ssim_kpn", "VDP3": "hdr_vdp3_kpn"},
    "hdcfm": {"SSIM": "ssim", "VDP3": "hdr_vdp3_hdrtvnet"},
    "dslnet": {},
}
COMMON = {"PSNR": "psnr", "ΔEITP": "delta_e_itp", "SR-SIM": "sr_sim", "MABD": "mabd_pred"}
SIZES = {"Params M": "parameters_m", "params": "parameters_m", "GFLOPs": "gmacs"}
NAMES = {
    ("hdcfm", 2): {"M0": "M0", "+M1": "M0+M1", "+M2": "M0+M1+M2", "M1+M2+M3": "M1+M2+M3", "all (M4)": "M1+M2+M4"},
}
PLACES = {"DSLNet": (3, 4, 5), "MResNet": (3,), "w/o Align": (4,), "w/o Modulation": (5,)}  # of one table in the notes
TABLES = {  # how many rows each has
    **{("kpn_mfi", 1): 8, ("kpn_mfi", 2): 3, ("kpn_mfi", 3): 3, ("hdcfm", 1): 12, ("hdcfm", 2): 5},
    **{("dslnet", 1): 7, ("dslnet", 2): 8, ("dslnet", 3): 2, ("dslnet", 4): 2, ("dslnet", 5): 2},
}


@cache
def printed(shared, paper):
    """(table, row) -> name -> number, of the Markdown tables of a paper's notes."""
    found, tables, header = {}, (), []
    for line in (shared / "papers" / f"{paper}.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"Tables? (\d)(?:-(\d))?", line):
            first, last = int(heading[1]), int(heading[2] or heading[1])
            tables, header = tuple(range(first, last + 1)), []
        elif not line.startswith("|"):
            continue
        elif tables and not header:
            header = [cell.strip() for cell in line.strip("|").split("|")]
        elif tables and "---" not in line:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if "PSNR" not in header or len(cells) != len(header):
                continue
            name = NAMES.get((paper, tables[0]), {}).get(cells[0], re.sub(r" \(.*", "", cells[0]))
            names = COMMON | METRICS[paper] | SIZES
            row = {names[h]: number(c) for h, c in zip(header, cells, strict=True) if h in names and number(c)}
            for table in PLACES[name] if len(tables) > 1 else tables:
                found[table, name.casefold()] = row
    return found


def number(text):
    """37.7260, 30.0085 (+1.9421), 36K, 0.93M."""
    match = re.match(r"(\d+(?:\.\d+)?)([KM]?)", text)
    return float(match[1]) / (1000 if match[2] == "K" else 1) if match else None


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_rows_carry_what_the_paper_prints(paper, table, shared):
    """Each printed row is one entry with its numbers; what stands beside them is a row of another table."""
    rows = {row: numbers for (t, row), numbers in printed(shared, paper).items() if t == table}
    assert len(rows) == TABLES[paper, table]
    names = [name for name in entry_names() if name.rpartition("/")[0] == f"{paper}/table{table}"]
    entries = {find_entry(name).row.casefold(): name for name in names}
    assert len(entries) == len(names)
    assert rows.keys() <= entries.keys()
    for row, name in entries.items():
        entry = find_entry(name)
        numbers = rows.get(row) or printed(shared, paper)[1, row]
        assert entry.table == str(table)
        assert as_floats(entry.results) == {k: v for k, v in numbers.items() if k not in SIZES.values()}, name
        for size in SIZES.values():
            if getattr(entry, size) is not None and not (entry.shared and size not in numbers):
                assert float(getattr(entry, size)) == pytest.approx(numbers[size]), name


def as_floats(numbers):
    return {name: float(number) for name, number in numbers.items()}


@pytest.mark.parametrize("paper", ["kpn_mfi", "hdcfm", "dslnet"])
def test_a_base_carries_the_numbers_of_its_paper(paper, shared):
    entry = find_entry(paper)
    (numbers,) = (n for (t, row), n in printed(shared, paper).items() if t == 1 and row == entry.row.casefold())
    sizes = {k: getattr(entry, k) for k in SIZES.values() if getattr(entry, k) is not None}
    assert as_floats(entry.results | sizes) == pytest.approx(numbers)


def test_vitm_tc_carries_what_the_paper_prints(shared):
    """Table 1 has two metrics in a cell, of which entries carry those of REDS-val; Tables 2 and 3 are lines of text."""
    text = (shared / "papers/vitm_tc.md").read_text(encoding="utf-8")
    cells = dict(re.findall(r"^\| ([\w+ -]+) \| (\d\.\d{3}/\d\.\d{3}) \|", text, re.MULTILINE))
    assert len(cells) == 7
    rows = find_table("vitm_tc/fcpm/table1").rows
    assert {row.row: "{hdr_vdp3}/{hdr_vqm}".format(**row.results) for row in rows if row.results} == cells
    assert [row.name for row in rows if not row.results] == ["vitm_tc/fcpm/table1/clues"]  # ours

    for table in (2, 3):
        (line,) = re.findall(rf"^Table {table} \(HDM-HDR, HDR-VQM.*$", text, re.MULTILINE)
        in_order = find_table(f"vitm_tc/fcpm/table{table}").rows
        assert [str(row.results["hdr_vqm"]) for row in in_order] == re.findall(r"0\.\d{3}", line)
        assert len(in_order) == 5
