"""Diagram, small drawings, maps, costs by kind and the slowest path."""

import numpy as np
import pytest

from popstream.hw.cost.network import Cost, network_cost
from popstream.hw.solver.solve import solve
from popstream.model.manifest import load, zoo
from popstream.sim.reports.page import charts, diagram
from popstream.sim.reports.page.design import RESOURCES, cost
from popstream.sim.reports.page.hardware import critical_path
from popstream.sim.reports.page.layers import describe
from popstream.sim.reports.page.way import colors, tiled
from tests.networks import SHORTCUTS, random_network
from tests.sim.reports.page.figures import PERIOD, nextpnr_report


def laid_out(network):
    described = describe(network)
    found = diagram.cells(described)
    around = diagram.spans(found, described["skips"])
    return described, found, around, diagram.rows(found, around)


def test_resnet20_has_a_row_for_each_size_of_its_maps():
    network = load(next(folder for folder in zoo() if folder.name == "resnet20-w1a2"))
    described, found, around, lines = laid_out(network)
    assert [len(line) for line in lines] == [8, 6, 8]
    assert [found[line[0]].title for line in lines] == ["image", "group1.conv0", "group2.conv0"]
    assert len(around) == 18
    assert [change for *_, change in around if change] == [
        "means of 2 x 2 pixels, 32 channels", "means of 2 x 2 pixels, 64 channels",
    ]  # fmt: skip
    assert described["weights"] == 268_336
    assert described["products"] == 40_551_040


@pytest.mark.parametrize("convs", [1, 2])
@pytest.mark.parametrize("kind", SHORTCUTS)
def test_no_skip_is_torn_by_the_end_of_a_row(kind, convs):
    network = random_network(5, channels=(4, 8, 8), strides=(1, 2, 2), height=16, width=16, blocks=3, shortcut=kind,
                             convs_per_shortcut=convs)  # fmt: skip
    described, found, around, lines = laid_out(network)
    assert [place for line in lines for place in line] == list(range(len(found)))
    assert around
    for first, last, _ in around:
        assert any(first in line and last in line for line in lines)
    aside = {name for skip in described["skips"] for name in skip["layers"]}
    assert bool(aside) == (kind == "B")
    assert {cell.node for cell in found if cell.node} | aside == {layer["node"] for layer in described["layers"]}
    for drawn, width in (diagram.wide(described), diagram.tall(described)):
        boxes = [float(box.get("x")) + float(box.get("width")) for box in drawn.root.iter("rect")]
        assert max(boxes) <= width
        assert "3 × 16 × 16" in drawn.__html__()


def test_costs_by_kind_and_stage_add_up():
    network = random_network(6, channels=(4, 8), prelu=True)
    folding = solve(network, 9_000)
    whole = sum(network_cost(network, folding).values(), Cost())
    found = cost(network, folding)
    for name in RESOURCES:
        assert found["total"][name] == getattr(whole, name)
        assert sum(stage["total"][name] for stage in found["stages"]) == getattr(whole, name)
        assert sum(kind[name] for kind in found["kinds"].values()) == getattr(whole, name)
    assert set(found["kinds"]) == {"lanes and weights", "windows", "requantizing", "thresholds", "skips and forks",
                                   "pooling"}  # fmt: skip


def test_the_slowest_path_is_within_the_clock():
    report = nextpnr_report()
    path = critical_path(report, 60.0)
    assert path["ns"] == PERIOD
    assert path["by_kind"] == {"register": 0.5, "routing": 6.25, "logic": 0.25, "setup": 1.0}
    assert [part["tiles"] for part in path["steps"]] == [0, 12, 0, 0]
    assert critical_path(report, 100.0) is None
    assert critical_path({}, 60.0) is None
    widths = [float(part.get("width")) for part in charts.in_order(path["steps"], {}).root]
    assert sum(widths) == pytest.approx(100, abs=1)


def test_stacked_bars_are_as_long_as_their_parts():
    bar = charts.stacked({"a": 1, "b": 0, "c": 3}, 8, {"a": "k0", "b": "k1", "c": "k2"}).root
    assert [(part.get("class"), part.get("x"), part.get("width")) for part in bar] == [
        ("k0", "0", "12.5"), ("k2", "12.5", "37.5"),
    ]  # fmt: skip


def test_shares_over_time_lie_upon_each_other():
    drawn = charts.over_time([50, 100], [25, 0], [1.5]).root
    assert [part.get("d") for part in drawn] == [
        "M0 100V50h1V0h1V100h-1V100h-1Z", "M0 100V25h1V0h1V0h-1V50h-1Z", "M1.5 0V100",
    ]  # fmt: skip


def test_logits_are_bars_from_zero():
    rows = charts.logit_bars([f"class{number}" for number in range(12)], [*range(-6, 6)])
    assert [row["name"] for row in rows] == [f"class{number}" for number in range(2, 12)]
    assert (rows[0]["left"], rows[0]["width"]) == (pytest.approx(100 / 11 * 2, abs=0.1), pytest.approx(36.36, abs=0.1))
    assert rows[-1]["left"] + rows[-1]["width"] == pytest.approx(100, abs=0.1)


def test_maps_lie_side_by_side():
    maps = np.arange(6 * 2 * 3, dtype=np.int64).reshape(6, 2, 3)
    shown = colors(maps, "codes")
    picture = tiled(shown)
    assert picture.shape == (2 * 3 - 1, 3 * 4 - 1, 4)  # two rows of three, a clear line between
    for number in range(6):
        y, x = number // 3 * 3, number % 3 * 4
        assert np.array_equal(picture[y : y + 2, x : x + 3, :3], shown[number])
    assert (picture[2] == 0).all()
    assert (picture[:, 3] == 0).all()
    assert tiled(shown[:, :1, :1]).shape == (2, 3, 4)


def test_colours_tell_sign_and_size():
    blue, none, orange = colors(np.array([-5, 0, 5]), "stream").astype(int)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert none.min() > 230
    dark, light = colors(np.array([0, 3]), "codes").astype(int)
    assert light.sum() > 3 * dark.sum()
