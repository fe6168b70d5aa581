# amaranth: UnusedElaboratable=no
"""One shared stage for networks of other depths, widths, kernels and bits: the same design, golden's values in each."""

import json

import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Fold, Folding
from popstream.hw.folding.room import Reload
from popstream.hw.reloading import adapted, difference, made_for, shape_of
from tests.hw.accelerator_bench import compare, simulate, skeleton
from tests.networks import random_images, random_network

SIZES = dict(height=4, width=6, in_channels=2, classes=2, first_bits=(2, 2), last_bits=(1, 2), stream_bits=10,
             weight_bits=1, act_bits=2)  # fmt: skip
LARGE = dict(channels=(2, 3, 4), strides=(1, 1, 2), blocks=2, weight_bits=2, shortcut="B")
OTHERS = {
    "less of all": dict(channels=(2, 4), strides=(1, 2)),
    "one bit": dict(channels=(2, 4), strides=(1, 2), act_bits=1, shortcut="A"),
    "kernels of 1": dict(channels=(2, 2, 4), strides=(1, 1, 2), kernel=(3, 1, 1)),
    "means": dict(channels=(2, 3, 4), strides=(1, 1, 2), shortcut="avgpool"),
    "one layer a block": dict(channels=(2, 4), strides=(1, 2), convs_per_block=1, blocks=2),
}
SIGNED = dict(weights="signed", weight_bits=2)
BENT = dict(prelu=True)


def network(seed, **others):
    return random_network(seed, **SIZES | others)


def folded(whole, slice=2, pe=4, pixels=2, planes=1, beat=1):
    """All convs but the first in one stage."""
    names = tuple(node.name for node in whole.nodes if node.op == "conv")
    alone = {names[0]: Fold(2, 2), "linear": Fold(4, 2)}
    return Folding(alone, (Share(names[1:], slice, pe, pixels, planes, beat),)).check(whole)


def check(networks, folding, stalls=0.3):
    """One design for all of them, which computes each one's values; what it is made for stands in JSON."""
    made = Reload.from_dict(json.loads(json.dumps(made_for(networks, folding).to_dict())))
    designs = set()
    for at, one in enumerate(networks):
        whole = adapted(folding, one)
        assert difference(shape_of(networks[0], folding), made, one, folding) is None
        designs.add(skeleton(one, whole, made))
        accelerator = Accelerator(one, whole, taps=True, reload=made)
        images = random_images(one.input, at, 3)
        compare(one, images, simulate(accelerator, images, at, stalls, stalls, patience=9000))
    assert len(designs) == 1


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_a_network_within_the_bounds_of_a_larger_one(others):
    large = network(1, **LARGE)
    check([large, network(2, **others)], folded(large))


def test_networks_each_of_which_is_larger_in_something():
    deep, bits = network(3, channels=(2, 4), strides=(1, 2), blocks=3), network(4, channels=(2, 4), act_bits=3)
    bent, signed = network(5, channels=(2, 4), **BENT), network(6, channels=(2, 4), act_bits=3, **SIGNED)
    pooled = network(7, channels=(2, 4), strides=(1, 1), maxpool=2)
    check([deep, bits, bent, signed, pooled], folded(deep, planes=2), 0)
