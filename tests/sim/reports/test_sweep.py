"""Tables and figures of a sweep: every published cell, ours beside it, deviations over seeds, LUTs of a manifest."""

import json

import pytest

from popstream.cli import main
from popstream.model.manifest import save
from popstream.model.sweeping.published import ACCURACY, BITS, ENDS, MINUTES, PURE, TABLE
from popstream.model.sweeping.tables import TableError, load_runs, markdown, points, spread
from popstream.sim.reports import sweep as tables
from tests.networks import random_network


def row(name, group, seed=0, top1=80.0, **options):
    return {
        "run": f"{name}-seed{seed}", "group": group, "seed": seed, "options": options, "epochs": 2, "loss": 1.0,
        "top1_float": top1, "top1_frozen": top1 - 0.5, "minutes": 3.0,
        "curve": [[2.0, 20.0, top1 - 9], [1.0, 50.0, top1]],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A sweep with grid points, one of the seven networks, first and last layer, two seeds, and one manifest."""
    bits = [(w, a) for w in (1, 2, 32) for a in (1, 4, 32)]
    rows = [
        row(f"grid-{activation}-w{w}-a{a}", f"grid-{activation}", 0, 60.0 + w / 2 + a / 4, **{
            "phase.*.weight_bits": w, "phase.*.act_bits": a})
        for activation in ("relu", "mish") for w, a in bits
    ]  # fmt: skip
    rows += [row("table-resnet", "table-resnet", seed, 91.0 + seed) for seed in (0, 1, 2)]
    rows += [row("pure-mish", "pure-mish"), row("resnet20-w1a2", "resnet20-w1a2")]
    rows += [row("ends-first-modelB", "ends-first", **{"network.model": "B"})]
    rows += [{"run": "broken-seed0", "group": "broken", "seed": 0, "options": {}, "error": "the loss is nan"}]
    (tmp_path / "runs.json").write_text(json.dumps({"spec": "small", "title": "A test", "runs": rows}))
    save(random_network(3, channels=(4, 6)), tmp_path / "resnet20-w1a2-seed0" / "manifest")
    return tmp_path


def test_tables_have_every_published_figure_and_ours(folder, capsys):
    assert main(["tables", "small", "--out", str(folder)]) == 0
    page = (folder / "tables" / "tables.md").read_text()
    assert page in capsys.readouterr().out
    for activation in ("relu", "mish"):
        for cell in (*ACCURACY[activation].values(), *MINUTES[activation].values()):
            assert f" {cell:.2f} / " in page
    assert "| W = 2 | 33.87 / 61.25 | 73.49 / - | 74.50 / 62.00 |" in page
    assert "| W = 2 | 33.87 / 60.75 |" in page  # frozen
    assert "| ResNet | 92.25 / 92.00 ± 1.00 | 37.82 / 3.0 |" in page
    assert "| Mish | 92.78 / - | 42.58 / - |" in page
    assert "| + first | 97.2 / - | 96.3 / 80.00 | 93.2 / - |" in page
    assert "| mish | 86.51 / 80.00 | 13.51 / 3.0 |" in page
    assert "broken" not in page
    luts = json.loads((folder / "tables" / "tables.json").read_text())["luts"]
    assert [entry["network"] for entry in luts] == ["resnet20-w1a2"]
    assert luts[0]["lut"] > 100
    assert f"| resnet20-w1a2 | {luts[0]['lut']:,} | 79.50 |" in page


def test_figures_are_drawn(folder):
    names = {path.name for path in tables.write_all(folder, 20_000)}
    assert names == {
        "tables.md", "heat-relu.png", "heat-mish.png", "bits.png", "curves.png",
        "curves-grid-relu.png", "curves-grid-mish.png", "luts.png",
    }  # fmt: skip
    for path in (folder / "tables").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    assert not list((folder / "tables").glob("*.partial*"))


def test_figures_show_frozen_integers_where_there_are_some(folder):
    table = json.loads((folder / "runs.json").read_text())
    table["runs"][0]["top1_frozen"] = None
    (folder / "runs.json").write_text(json.dumps(table))
    first, second = load_runs(folder)["runs"][:2]
    assert first["top1"] == first["top1_float"]
    assert second["top1"] == second["top1_frozen"] != second["top1_float"]


def test_published_grids_are_whole():
    assert all(len(values) == len(BITS) ** 2 == 25 for values in (*ACCURACY.values(), *MINUTES.values()))
    assert ACCURACY["relu"][4, 1] == 10.53  # W = 4, A = 1: rows are weights
    assert len(TABLE) == 7


def sums(*rows):
    """Sums of rows and of columns: no single figure of a table changes without two of them."""
    return [round(sum(line), 3) for line in rows], [round(sum(line), 3) for line in zip(*rows, strict=True)]


@pytest.mark.parametrize(("published", "of_rows", "of_columns"), [
    (ACCURACY["relu"], [316.9, 336.0, 333.2, 330.33, 334.19], [84.95, 377.22, 385.5, 391.35, 411.6]),
    (ACCURACY["mish"], [335.28, 322.16, 378.03, 376.44, 377.66], [192.23, 388.67, 391.77, 397.0, 419.9]),
    (MINUTES["relu"], [109.66, 127.36, 126.78, 126.98, 87.67], [117.37, 121.17, 121.72, 119.07, 99.12]),
    (MINUTES["mish"], [109.81, 129.54, 131.0, 130.27, 94.48], [119.74, 123.96, 123.99, 124.2, 103.21]),
])  # fmt: skip
def test_published_grids_have_the_sums_of_the_papers(published, of_rows, of_columns):
    """Sums worked out in decimals from tables 3 to 6 of Hao and Li; rows are weights."""
    assert sums(*([published[w, a] for a in BITS] for w in BITS)) == (of_rows, of_columns)


def test_other_published_tables_have_the_sums_of_the_papers():
    """Tables 1 and 2 of Hao and Li; table 3 of DoReFa-Net, there as fractions."""
    of_rows = [130.07, 135.36, 131.94, 138.63, 140.71, 126.65, 132.87]
    assert sums(*(row[1:] for row in TABLE.values())) == (of_rows, [642.21, 294.02])
    assert sums(*PURE.values()) == ([100.94, 100.02], [172.21, 28.75])
    assert sums(*(row for _, row in ENDS.values())) == ([288.3, 286.7, 286.9, 286.0], [389.1, 386.2, 372.6])


def test_seeds_of_a_point_stand_together():
    rows = [row("a", "a", seed, 50.0 + seed) for seed in (0, 1)] + [row("b", "b")]
    assert {name: len(chosen) for name, chosen in points(rows).items()} == {"a": 2, "b": 1}
    assert spread(points(rows)["a"], "top1_float") == "50.50 ± 0.71"
    assert spread(rows, "none") == "-"
    assert markdown(["a"], [["1"]]) == "| a |\n| --- |\n| 1 |\n"


@pytest.mark.parametrize(("content", "message"), [
    (None, "runs.json; run `make sweep SPEC=small` first"), ("{", "is damaged"), ('{"runs": []}', "no finished run"),
])  # fmt: skip
def test_nothing_to_tabulate(tmp_path, capsys, content, message):
    folder = tmp_path / "small"
    folder.mkdir()
    if content is not None:
        (folder / "runs.json").write_text(content)
    with pytest.raises(TableError, match=message):
        load_runs(folder)
    assert main(["tables", "small", "--out", str(folder)]) == 1
    assert message in capsys.readouterr().err
