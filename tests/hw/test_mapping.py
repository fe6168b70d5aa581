# amaranth: UnusedElaboratable=no
"""Post-activation networks and linear layers in a row as whole accelerators: every value is golden's, under stalls."""

from dataclasses import replace

import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.cost.network import latencies, network_cost, network_parts
from popstream.hw.folding.buffering import Buffer, buffers
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Fold, Folding, FoldingError, parallel, serial
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network
from popstream.sim.golden.drawn_post import random_mlp, random_post
from tests.hw.accelerator_bench import HangError, compare, random_folding, simulate
from tests.networks import random_images, random_network

STALLS = [(0.0, 0.0), (0.4, 0.4), (0.0, 0.9), (0.8, 0.0)]
PLAIN = dict(height=3, width=4, in_channels=2, channels=(3,), strides=(1,), first_bits=(1, 2), last_bits=(2, 2))
IMAGES = 2
TWO = dict(channels=(2, 4), strides=(1, 2))

# folding, options
POST = [
    ("random", {}),
    ("random", {**TWO, "ties": "even", "skip_first": True}),
    ("random", {**TWO, "join": "requant", "ties": "even", "pad_code": 1, "table_rows": 1}),
    ("random", {"pool_codes": False, "own_rows": True, "table_rows": 2, "pad_code": 3, "relu": False}),
    ("random", {"stream_bits": 6, "sum_bits": 3, "relu": False, "skip_first": True}),
    ("random", {"strides": (2,), "kernel": 1, "ties": "even", "act_bits": 1, "weight_bits": 1}),
    ("random", {"strides": (2,), "weights": "odd", "pad_code": 7, "act_bits": 3, "pool_codes": False, "ties": "even"}),
    ("serial", {"own_rows": True, "height": 2, "width": 3, "channels": (2,), "skip_first": True, "weight_bits": 1}),
    ("parallel", {"channels": (4,), "join": "requant", "table_rows": 1, "ties": "even"}),
    ("solved", {**TWO, "pad_code": 2, "table_rows": 2, "last_bits": (8, 8), "first_bits": (8, 3)}),
    ("random", {"kernel": 1, "height": 1, "width": 1, "ties": "even"}),
]  # fmt: skip
MLPS = [
    ("random", {}), ("serial", dict(hidden=(3,), features=4)), ("parallel", dict(table_rows=1, features=6)),
    ("random", dict(hidden=(), weights="odd")), ("serial", dict(hidden=(), table_rows=7, features=7)),
    ("solved", dict(hidden=(6, 4, 6), act_bits=1, weight_bits=1, weights="odd")),
]  # fmt: skip


def fold_by(name: str, network: Network, seed: int) -> Folding:
    if name == "random":
        return random_folding(network, seed, 120)
    return {"serial": serial, "parallel": parallel, "solved": lambda n: solve(n, 200)}[name](network)


def check(network: Network, folding: Folding, seed: int, depths: dict | None = None) -> Accelerator:
    accelerator = Accelerator(network, folding, taps=True, depths=depths)
    images = random_images(network.input, seed, IMAGES)
    compare(network, images, simulate(accelerator, images, seed, *STALLS[seed % len(STALLS)]))
    return accelerator


@pytest.mark.parametrize("index", range(len(POST)))
def test_post_activation_networks(index):
    fold, options = POST[index]
    network = random_post(index, **PLAIN | options)
    folding = fold_by(fold, network, index)
    accelerator, told = check(network, folding, index), latencies(network, folding)
    wrong = {n: t for n, t in told.items() if n != network.output.name and t != own_latency(accelerator, n)}
    assert wrong == {}
    assert set(network_cost(network, folding)) >= {"stem.conv", "group0.conv0", "group0.sum"}


def own_latency(accelerator: Accelerator, name: str) -> int:
    """Of a node's blocks, without the FIFOs ahead of a join and the change of lanes behind one."""
    parts = {f"{name.replace('.', '_')}_{role}" for role in ("skip_fifo", "main_fifo", "skip_repack")}
    return accelerator.latencies[name] - sum(
        accelerator.blocks[part].latency for part in parts & set(accelerator.blocks)
    )


@pytest.mark.parametrize("index", range(len(MLPS)))
def test_linear_layers_in_a_row(index):
    fold, options = MLPS[index]
    network = random_mlp(index, **options)
    check(network, fold_by(fold, network, index), index)


def test_784_features():
    """What the handwritten digits of MNIST have, as channels of one pixel; a few products at a time and all at once."""
    network = random_mlp(0, features=784, hidden=(4,), first_bits=(1, 1))
    folding = Folding({"layer0.conv": Fold(98, 2, feed=16), "linear": Fold(4, 4)})
    check(network, folding, 1)
    check(network, Folding({"layer0.conv": Fold(784, 1, prefetch=False), "linear": Fold(1, 1)}), 3)


def at_minimum(depths, less=0):
    """The same FIFOs, as short as they may be; or shorter by `less` pixels where that leaves one."""

    def cut(buffer):
        return None if buffer is None else Buffer(max(1, buffer.minimum - less), buffer.minimum)

    return {name: replace(d, skip=cut(d.skip), main=cut(d.main)) for name, d in depths.items()}


@pytest.mark.parametrize("first", [False, True])
def test_the_deadlock_bound_of_an_add_is_enough(first):
    """Whichever of its inputs is the shortcut: the path without a conv ends in a FIFO."""
    network = random_post(2, **PLAIN | TWO | dict(skip_first=first, act_bits=1))
    folding = random_folding(network, 4, 120)
    depths = buffers(network, folding, {})
    assert (depths["group0.sum"].main is not None) == first
    check(network, folding, 1, at_minimum(depths))


@pytest.mark.parametrize("first", [False, True])
def test_less_than_the_bound_of_an_add_hangs(first):
    network = random_post(2, **PLAIN | dict(width=6, skip_first=first, act_bits=1, weight_bits=1))
    folding = {name: replace(fold, pe=1, prefetch=False) for name, fold in parallel(network).items()}
    depths = buffers(network, folding, {})
    found = depths["group0.sum"]
    assert (found.main if first else found.skip).minimum > 5
    images = random_images(network.input, 6, 3)
    compare(network, images, simulate(Accelerator(network, folding, True, at_minimum(depths)), images))
    with pytest.raises(HangError, match="Nothing moves since cycle"):
        simulate(Accelerator(network, folding, True, at_minimum(depths, less=4)), images, patience=500)


def test_a_conv_that_needs_less_than_the_shortcut_has_a_fifo():
    """On 2 x 2 pixels its window stands still, with prefetch or not, while means of all four are made."""
    network = random_network(
        1, height=2, width=2, kernel=1, strides=(2,), channels=(8,), in_channels=2, shortcut="avgpool",
        first_bits=(2, 2), last_bits=(2, 2),
    )  # fmt: skip
    depths = buffers(network, serial(network), {})
    assert depths["group0.conv0.requant"].main == Buffer(2, 1)
    check(network, serial(network), 1, at_minimum(depths))
    without = {name: replace(d, main=None) for name, d in at_minimum(depths).items()}
    with pytest.raises(HangError, match="Nothing moves since cycle"):
        simulate(Accelerator(network, serial(network), True, without), random_images(network.input, 1, 3))


def test_what_reads_the_input_is_counted():
    network = random_mlp(1, table_rows=1, features=8)
    parts = network_parts(network, serial(network))
    assert parts["input"]["table"].ebr == 4  # 256 entries of 4 channels
    assert latencies(network, serial(network))["input"] == Accelerator(network, serial(network)).latencies["input"]
    assert "input" not in network_parts(random_mlp(1), serial(random_mlp(1)))


@pytest.mark.parametrize(("options", "shared", "message"), [
    (dict(pad_code=1), "group1.conv0", "Node 'group1.conv0': a shared stage pads with code 0, not with 1"),
])  # fmt: skip
def test_shared_stages_refuse(options, shared, message):
    network = random_post(1, **PLAIN | TWO | dict(weights="odd", channels=(2, 2)) | options)
    refused(network, shared, message)


def test_shared_stages_refuse_ties_to_even():
    network = random_network(1, height=2, width=2, channels=(2,), strides=(1,), convs_per_block=1)
    nodes = [
        replace(node, attributes={**node.attributes, "ties": "even"}) if node.op == "requant" else node
        for node in network.nodes
    ]
    network = Network.build("even", "random", network.classes, nodes)
    message = "Node 'group0.conv0.requant': halves go up in a shared stage, not to even"
    refused(network, "group0.conv0.conv", message)


def refused(network: Network, shared: str, message: str) -> None:
    rest = {name: fold for name, fold in serial(network).items() if name != shared}
    with pytest.raises(FoldingError) as caught:
        Folding(rest, (Share((shared,), 1, 1, 2),)).check(network)
    assert str(caught.value) == message
