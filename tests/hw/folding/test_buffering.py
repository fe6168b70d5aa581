"""FIFO depths against a plain replay of which pixels each path needs."""

import pytest

from popstream.hw.folding.buffering import buffers
from popstream.hw.folding.folding import Fold, parallel, serial
from popstream.model.manifest import fork
from tests.networks import random_network

CASES = [
    dict(shortcut="A"),
    dict(shortcut="B"),
    dict(shortcut="avgpool"),
    dict(shortcut="identity"),
    dict(shortcut="avgpool", convs_per_shortcut=2),
    dict(shortcut="B", convs_per_shortcut=2),
    dict(shortcut="A", convs_per_shortcut=2, kernel=5),
    dict(shortcut="avgpool", kernel=1),
    dict(shortcut="A", kernel=1),
    dict(shortcut="A", height=5, width=7),
]


def needs(node, source, pixel):
    """Every input pixel (row, column) that output `pixel` of `node` depends on, and those before them."""
    _, height, width = source.shape
    row, column = divmod(pixel, node.shape[2])
    if node.op == "conv":
        rows = [row * node["stride"] + k - node["padding"] for k in range(node["kernel"])]
        columns = [column * node["stride"] + k - node["padding"] for k in range(node["kernel"])]
        if rows[-1] >= height:  # padding below is scanned after the last pixel
            return height * width - 1
        return max(r * width + min(c, width - 1) for r in rows for c in columns if c >= 0)
    if node.op == "shortcut" and node["stride"] == 2:
        offset = 1 if node["reduce"] == "average" else 0
        return (2 * row + offset) * width + 2 * column + offset
    return pixel


def replay(network, node):
    """Feed the fork pixel by pixel and add what both ends have; most that the skip's end holds, and the conv chain's
    for want of its skip."""
    source, main, skip = fork(network, node)
    total, count = source.shape[1] * source.shape[2], node.shape[1] * node.shape[2]

    def due(chain, pixel):
        image, pixel = divmod(pixel, count)
        for step in reversed(chain):
            pixel = needs(step, network.node(step.inputs[0]), pixel)
        return image * total + pixel

    images, most = 3, [0, 0]
    made = [sorted(due(chain, j) for j in range(images * count)) for chain in (main, skip)]
    done = 0
    for pixel in range((images - 1) * total):
        ready = [sum(1 for when in chain[done:] if when <= pixel) for chain in made]
        done += min(ready)
        most = [max(most[0], ready[0] - min(ready)), max(most[1], ready[1])]
    return most


@pytest.mark.parametrize("case", CASES, ids=str)
def test_minimum_equals_a_replay(case):
    network = random_network(3, **case)
    found = buffers(network, parallel(network), {})
    joins = [node for node in network.nodes if len(node.inputs) == 2]
    assert joins
    assert sorted(found) == sorted(node.name for node in joins)
    for node in joins:
        depths = found[node.name]
        assert depths.fork == fork(network, node)[0].name
        waiting = replay(network, node)
        assert depths.skip.minimum == waiting[1]
        assert (depths.main.minimum if depths.main else 0) == waiting[0]
        assert depths.skip.pixels >= depths.skip.minimum


def test_identity_beside_a_3x3_conv_holds_a_row_and_two_pixels():
    network = random_network(0, height=6, width=9, shortcut="identity")
    assert buffers(network, serial(network), {})["group0.conv0.requant"].skip.minimum == 9 + 2


def test_two_convs_hold_two_rows():
    network = random_network(0, height=6, width=9, shortcut="identity", convs_per_shortcut=2)
    assert buffers(network, serial(network), {})["group0.conv1.requant"].skip.minimum == 2 * (9 + 1) + 1


def test_look_ahead_grows_with_latency_buffers_and_prefetch():
    network = random_network(0, height=6, width=9, shortcut="identity")
    name, conv = "group0.conv0.requant", "group0.conv0.conv"

    def pixels(latency=0, **fold):
        folding = {**parallel(network), conv: Fold(36, 1, **fold)}  # 4 groups of 2 cycles
        return buffers(network, folding, {conv: latency})[name].skip.pixels

    plain = pixels(prefetch=False)
    assert plain == 9 + 2 + 2  # the window in use, and one result on its way
    assert pixels(prefetch=True) == plain + 1
    assert pixels(prefetch=False, latency=17) == plain + 3
    assert pixels(prefetch=False, buffer=9) == plain + 9


def test_a_1x1_conv_waits_for_averages():
    """Means of 2x2 come a row late: the conv's results need a FIFO, which no other geometry does."""
    network = random_network(0, height=6, width=8, kernel=1, shortcut="avgpool")
    found = buffers(network, parallel(network), {})
    main = found["group1.conv0.requant"].main
    assert main is not None
    assert main.minimum == 4  # a row of results
    assert all(depths.main is None for name, depths in found.items() if name != "group1.conv0.requant")
