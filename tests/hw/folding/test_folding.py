"""Foldings: legality, cycles, the solver, the file, and the cost model's order of things."""

import json
from dataclasses import replace

import pytest

from popstream.hw.cost.network import ECP5_PRICES, Cost, layer_cost, network_cost
from popstream.hw.folding.fold import divisors
from popstream.hw.folding.folding import (
    DEFAULT_INTERVAL,
    Fold,
    Folding,
    FoldingError,
    cycles,
    folded,
    interval,
    legal,
    parallel,
    pixels,
    products,
    serial,
    stream_lanes,
    timings,
)
from popstream.hw.folding.timing import WindowGeometry, window_timing
from popstream.hw.solver.solve import solve
from tests.networks import random_network

SMALL = dict(height=6, width=10, channels=(6, 12), in_channels=3)


@pytest.fixture(scope="module")
def resnet20():
    return random_network(
        1, height=32, width=32, channels=(16, 32, 64), strides=(1, 2, 2), blocks=3, classes=10, stream_bits=16
    )


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold(5, 1), "simd must divide its 54 products, 5 does not"),
        (Fold(0, 1), "simd must be an integer of at least 1, not 0"),
        (Fold(54, 4), "pe must divide its 6 output channels, 4 does not"),
        (Fold(54, True), "pe must be an integer of at least 1, not True"),
        (Fold(54, 1, "serial"), "arithmetic must be one of lanes, mac, not 'serial'"),
        (Fold(54, 1, prefetch=1), "prefetch must be true or false, not 1"),
        (Fold(54, 1, buffer=-1), "buffer must be an integer of at least 0, not -1"),
        (Fold(54, 1, planes=3), "planes must divide 2 .lanes, 2-bit codes., 3 does not"),
        (Fold(54, 1, "mac", planes=2), "planes must divide 1 .mac, 2-bit codes., 2 does not"),
        (Fold(54, 1, planes=0), "planes must be an integer of at least 1, not 0"),
        (Fold(54, 6, out=4), "out must divide pe .6. into at most as many beats as a channel group takes cycles .2."),
        (Fold(54, 6, out=2), "out must divide pe .6. into at most as many beats as a channel group takes cycles .2."),
        (Fold(54, 1, feed=4), "feed must divide its 6 input channels, 4 does not"),
        (Fold(54, 1, feed=0), "feed must divide its 6 input channels, 0 does not"),
        (Fold(54, 1, storage="flash"), "storage must be one of auto, logic, registered, block, reload, not 'flash'"),
    ],
)
def test_illegal_folds_say_why(fold, message):
    node = random_network(0, **SMALL).node("group0.conv0.conv")
    with pytest.raises(FoldingError, match=message):
        legal(node, fold)


def test_cycles_are_the_design_formula():
    network = random_network(0, weight_bits=2, act_bits=3, **SMALL)
    node = network.node("group0.conv1.conv")
    assert products(node) == 54
    assert pixels(node) == 60
    for simd in divisors(54):
        for pe in divisors(6):
            legal(node, Fold(simd, pe))
            assert cycles(node, Fold(simd, pe)) == (6 // pe) * (54 // simd) * 2 * 3
            assert cycles(node, Fold(simd, pe, planes=3)) == (6 // pe) * (54 // simd) * 2
            assert cycles(node, Fold(simd, pe, "mac")) == (6 // pe) * (54 // simd)


def test_file_round_trip_and_errors(tmp_path):
    network = random_network(0, **SMALL)
    folding = solve(network, 2000)
    path = tmp_path / "folding.json"
    folding.save(path)
    assert Folding.load(path, network) == folding
    assert [p.name for p in tmp_path.iterdir()] == ["folding.json"]
    content = json.loads(path.read_text())
    for change, message in [
        ({"linear": None}, "Node 'linear': it must be a table, not None"),
        ({"extra": content["linear"]}, "an entry for node 'extra'"),
        ({"linear": {"simd": 5, "pe": 1}}, "simd must divide its 12 products"),
        (
            {"linear": {"simd": 1, "pe": 1, "size": 3}},
            "Node 'linear': it has an unknown option 'size'; it takes arithmetic, buffer, ",
        ),
        ({"linear": {"simd": 1}}, "Node 'linear': it lacks 'pe'"),
        ({"linear": {"simd": 1.5, "pe": 1}}, "Node 'linear': simd must be a whole number of at least 1, not 1.5"),
        ({"linear": {"simd": True, "pe": 1}}, "Node 'linear': simd must be a whole number of at least 1, not True"),
        ({"linear": {"simd": 1, "pe": 0}}, "Node 'linear': pe must be a whole number of at least 1, not 0"),
        ({"linear": {"simd": 1, "pe": 1, "out": "2"}}, "out must be a whole number of at least 1 or null, not '2'"),
        ({"linear": {"simd": 1, "pe": 1, "prefetch": 1}}, "Node 'linear': prefetch must be true or false, not 1"),
        ({"linear": {"simd": 1, "pe": 1, "storage": 3}}, "Node 'linear': storage must be text, not 3"),
    ]:
        path.write_text(json.dumps(content | change))
        with pytest.raises(FoldingError, match=message) as error:
            Folding.load(path, network)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)
    path.write_text("{")
    with pytest.raises(FoldingError, match=r"folding.json: not valid JSON, or cut short .*Expecting"):
        Folding.load(path, network)
    path.write_text("[]")
    with pytest.raises(FoldingError, match="must be a table of folds by node name, not list"):
        Folding.load(path, network)
    with pytest.raises(FoldingError, match=r"none.json: cannot be read \(No such file or directory\)"):
        Folding.load(tmp_path / "none.json", network)
    with pytest.raises(FoldingError, match="no entry for node 'linear'"):
        Folding({name: fold for name, fold in folding.items() if name != "linear"}).check(network)


@pytest.mark.parametrize("prefetch", [False, True])
def test_timing_of_an_unhindered_window(prefetch):
    """A 1x1 conv has no padding: every pixel is a window, and the slower side alone sets the interval."""
    geometry = WindowGeometry(8, 5, 7, 1, 1, 0)
    for beats, used, supply in [(4, 1, 1), (1, 9, 1), (1, 1, 13), (8, 8, 1)]:
        time = window_timing(geometry, beats, used, supply, prefetch, 0)
        each = max(beats, used, supply) if prefetch else max(beats + used - 1, supply)
        assert (time.compute, time.load, time.interval) == (35 * used, 35 * beats, 35 * each)


def test_timing_of_padding_and_stride():
    """Equal rates: the reader waits a row for its first windows (less the two windows still to be used once the last
    column is loaded), and with stride 2 in every second row (of 800 cycles, less the 400 of the window still in use),
    unless a FIFO bridges."""
    geometry = WindowGeometry(1, 8, 8, 3, 1, 1)
    assert window_timing(geometry, 1, 100, 1, True, 0).interval == pytest.approx(64 * 100, rel=0.02)
    assert window_timing(geometry, 1, 100, 100, True, 0).interval == pytest.approx(70 * 100, rel=0.02)
    assert window_timing(geometry, 1, 100, 100, True, 8).interval == pytest.approx(64 * 100, rel=0.02)
    strided = WindowGeometry(1, 8, 8, 3, 2, 1)
    assert window_timing(strided, 1, 400, 100, True, 0).interval == pytest.approx(4 * (1600 + 400), rel=0.02)
    assert window_timing(strided, 1, 400, 100, True, 8).interval == pytest.approx(16 * 400, rel=0.02)


@pytest.mark.parametrize("target", [600, 2000, 30_000])
@pytest.mark.parametrize("bits", [(1, 1), (3, 2)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_solver_meets_the_target_and_cannot_be_undercut(target, bits, shortcut):
    network = random_network(2, weight_bits=bits[0], act_bits=bits[1], shortcut=shortcut, **SMALL)
    folding = solve(network, target).check(network)
    assert max(interval(network, folding).values()) <= target
    lanes = stream_lanes(network, folding)
    for node in folded(network):  # no smaller simd does at this pe and arithmetic
        fold = folding[node.name]
        for simd in divisors(products(node)):
            if simd < fold.simd:
                trial = {**folding, node.name: replace(fold, simd=simd)}
                cheaper = layer_cost(network, node, trial[node.name], lanes[node.inputs[0]]).at(ECP5_PRICES)
                chosen = layer_cost(network, node, fold, lanes[node.inputs[0]]).at(ECP5_PRICES)
                assert timings(network, trial)[node.name].interval > target or cheaper >= chosen


def test_solver_refuses_the_impossible():
    network = random_network(0, **SMALL)
    with pytest.raises(FoldingError, match=r"no folding takes at most 20 cycles an image.*raise the interval"):
        solve(network, 20)
    with pytest.raises(FoldingError, match="at least 1 cycle, not 0"):
        solve(network, 0)


def test_resnet20_at_the_default_interval(resnet20):
    folding = solve(resnet20)
    cost = network_cost(resnet20, folding)
    total = sum(cost.values(), Cost())
    assert max(interval(resnet20, folding).values()) <= DEFAULT_INTERVAL
    assert folding["stem.conv"].arithmetic == "mac"  # 64 planes a product would need more lanes than there are products
    assert sum(fold.lanes for fold in folding.values() if fold.arithmetic == "lanes") < 11_000
    assert total.lut < 84_000  # a LFE5U-85F
    assert total.ebr <= 208
    assert total.dsp <= 156


def test_every_lane_of_the_ends_of_the_range():
    network = random_network(0, **SMALL)
    small, large = serial(network).check(network), parallel(network).check(network)
    assert sum(fold.lanes for fold in small.values()) == len(folded(network))
    assert max(interval(network, large).values()) < max(interval(network, small).values()) / 100
    weigh = [sum(network_cost(network, folding).values(), Cost()).at(ECP5_PRICES) for folding in (small, large)]
    assert weigh[0] * 3 < weigh[1]


def test_shortcut_lanes_keep_padding_apart():
    network = random_network(0, **SMALL)  # 6 -> 12 channels: 3 zeros, 6 channels, 3 zeros
    for pe, lanes in [(1, 1), (2, 1), (3, 3), (6, 3)]:
        folding = parallel(network)
        entries = {**folding, "group0.conv1.conv": Fold(54, pe)}
        assert stream_lanes(network, entries)["group1.conv0.shortcut"] == lanes
