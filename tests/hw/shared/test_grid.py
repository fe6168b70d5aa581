"""Accelerators with shared stages in every grouping, verilated in one program: every value that leaves a stage.

`popstream soak` draws more of them.
"""

from popstream.hw.folding.drawn import shared_folding
from popstream.sim.golden.drawn import random_images, random_network
from popstream.soak.networks import lay, together
from tests.hw.beats import STALLS

NETWORK = dict(
    height=4, width=6, channels=(2, 4), strides=(1, 2), convs_per_block=1, shortcut="B", prelu=True,
    weight_bits=(1, 2), act_bits=(2, 1), kernel=(3, 1), in_channels=2, first_bits=(2, 2), last_bits=(1, 2), classes=2,
)  # fmt: skip
# The last two: the projection in a stage beside a conv that is alone, and the other way round.
CASES = [("each", 0), ("all", 1), ("mixed", 3), ("mixed", 4)]


def test_one_layer_a_stage_all_in_one_and_a_mixture(tmp_path):
    network = random_network(0, **NETWORK)
    places = []
    for number, (grouping, seed) in enumerate(CASES):
        folding, images = shared_folding(network, seed, grouping), random_images(network.input, seed, 3)
        assert folding.shared
        place = tmp_path / f"{grouping}{seed}"
        places.append(lay(place, network, folding, images, *STALLS[number], hold=7, seed=seed + 1))
    bench = tmp_path / "bench"
    bench.mkdir()
    for verdict in together(places, tmp_path / "build", bench):
        assert verdict.said is None
        assert verdict.counts["images"] == 3
