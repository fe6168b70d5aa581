"""Shared stages in a folding: files, and what is refused."""

from dataclasses import replace

import pytest

from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Fold, FoldingError, Share
from popstream.hw.folding.folding import Folding
from popstream.hw.folding.memory_map import Area, place
from popstream.hw.folding.outline import outline, plan_of
from popstream.hw.shared.constants import Constants
from popstream.model.manifest import Network
from popstream.sim.golden.drawn import random_network

NETWORK = random_network(0, height=8, width=8, channels=(8, 16))
CONVS = [node.name for node in NETWORK.nodes if node.op == "conv"]
SHARE = Share(tuple(CONVS[1:]), 4, 4, 2, 2, 2)
ALONE = {CONVS[0]: Fold(1, 1), "linear": Fold(1, 1)}


def test_a_folding_with_a_shared_stage_is_read_as_it_was_written(tmp_path):
    folding = Folding(ALONE, (SHARE,)).check(NETWORK)
    folding.save(tmp_path / "folding.json")
    assert Folding.load(tmp_path / "folding.json", NETWORK) == folding
    nodes = [node.name for node in outline(NETWORK, folding).nodes]
    assert nodes == ["input", "stem.conv", "stem.requant", "group1.conv1.requant", "pool", "linear"]


CHANGES = {
    "pixels must be a power of two, not 3": dict(pixels=3),
    "planes must be 1 to 2, not 3": dict(planes=3),
    "beat must divide pe (4) and slice (4), 3 does not": dict(beat=3),
    "beat must divide the 8 channels that come in, 16 does not": dict(beat=16, pe=16, slice=16),
    "a stride of 2 takes 2 pixels at least, not 1": dict(pixels=1),
    "are conv nodes of 'random', 'linear' is none": dict(layers=("linear",)),
    "is in two shared stages, or twice in one": dict(layers=(CONVS[1], CONVS[1])),
    "must have layers, names of conv nodes; it has none": dict(layers=()),
    "which its shared stage does not make; one value comes into a stage, here 'stem.requant': leave out": dict(
        layers=(CONVS[1], CONVS[3])
    ),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_a_shared_stage_cannot_be_is_refused(message):
    share = replace(SHARE, **CHANGES[message])
    alone = {name: Fold(1, 1) for name in [*CONVS, "linear"] if name not in share.layers}
    with pytest.raises(FoldingError) as caught:
        Folding(alone, (share,)).check(NETWORK)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PROJECTED = random_network(0, height=8, width=8, channels=(8, 16), shortcut="B")
PAIRED = random_network(0, height=8, width=8, channels=(8, 16), convs_per_shortcut=2, blocks=2, shortcut="A")


def test_what_is_added_has_to_be_inside():
    names = ["group0.conv1.conv", "group0.conv2.conv"]
    with pytest.raises(FoldingError, match=r"adds 'stem\.requant', which is not in its shared stage; one value comes"):
        chain(PAIRED, names)


def test_what_is_read_outside_has_to_be_the_last():
    names = ["group0.conv0.conv", "group0.conv1.conv", "group1.conv0.conv"]
    with pytest.raises(FoldingError, match=r"'group1\.conv0\.project\.threshold' outside of its shared stage reads it"):
        chain(PROJECTED, names)


def test_sums_leave_where_what_is_added_is_outside():
    stage = chain(PROJECTED, ["group1.conv0.conv"])
    assert (stage.source.name, stage.end.name, stage.end.kind) == ("group0.conv1.requant", "group1.conv0.conv", "acc")


def test_a_projection_is_computed_ahead_of_the_sum_that_adds_it():
    stage = chain(PROJECTED, [name.name for name in PROJECTED.nodes if name.op == "conv"])
    made = [layer.value for layer in stage.layers]
    assert made.index("group1.conv0.project.requant") < made.index("group1.conv0.requant")
    copies = [layer.threshold.name for layer in stage.layers if layer.conv is None]
    assert copies == ["group1.conv0.project.threshold"]


def test_padding_beyond_half_a_kernel_is_refused():
    network = random_network(0, padding=2, strides=(1, 1))
    with pytest.raises(FoldingError, match="a kernel of 3 is padded by at most 1, not 2; fold it on its own"):
        chain(network, ["group0.conv0.conv"])


def changed(network, name, **attributes):
    """The network with other attributes, or tensors, of one node."""
    nodes = [
        replace(node, attributes={**node.attributes, **{k: v for k, v in attributes.items() if k not in node.tensors}},
                tensors={k: attributes.get(k, tensor) for k, tensor in node.tensors.items()})
        if node.name == name else node
        for node in network.nodes
    ]  # fmt: skip
    return Network.build(network.name, network.data, network.classes, nodes)


def test_factors_that_hardware_does_not_take_are_refused():
    node = NETWORK.node("group0.conv0.requant")
    network = changed(NETWORK, node.name, multiplier=node.tensors["multiplier"] << 9, bias=node.tensors["bias"] << 9,
                      shift=node["shift"] + 9)  # fmt: skip
    size = plan_of(network, SHARE)
    with pytest.raises(
        FoldingError, match=r"'group0\.conv0\.requant': multipliers of a shared stage are below 131,072"
    ):
        Constants(size)


def test_columns_that_do_not_meet_are_refused():
    network = random_network(0, padding=0, height=20, width=20, strides=(1, 2), channels=(8, 16))
    with pytest.raises(FoldingError, match="moved what it reads by 3 columns, which a shared stage cannot halve"):
        plan_of(network, replace(SHARE, layers=tuple(CONVS[1:])))


def test_a_layer_is_not_folded_twice():
    with pytest.raises(FoldingError, match=f"Folding has an entry for node '{CONVS[1]}'"):
        Folding({**ALONE, CONVS[1]: Fold(1, 1)}, (SHARE,)).check(NETWORK)


@pytest.mark.parametrize(
    "entry", [{"layers": ["a"], "slice": 0, "pe": 1, "pixels": 1}, {"layers": ["a"], "lanes": 3}, 7]
)
def test_a_file_that_is_none_is_refused(entry):
    with pytest.raises(FoldingError, match=r"^folding\.json: A shared stage: "):
        Folding.from_dict({"shared": [entry]}, "folding.json")


def test_what_is_no_list_of_stages_is_refused():
    with pytest.raises(FoldingError, match=r"^folding\.json: 'shared' must be a list of shared stages, not int$"):
        Folding.from_dict({"shared": 7}, "folding.json")


def test_areas_take_over_what_is_no_longer_read():
    areas = [Area("in", 8, -1, 0), Area("a", 8, 0, 1, "in"), Area("b", 4, 1, 3), Area("c", 4, 2, 3, None)]
    placed, words = place(areas, False)
    assert words == 12
    assert placed["a"].at == placed["in"].at == 0
    assert placed["b"].at == 8
    assert placed["c"].at == 4  # the last of the input's words
    apart, words = place(areas, True)
    assert all(area.at >= 8 for name, area in apart.items() if name != "in")
    assert words == 20
