# amaranth: UnusedElaboratable=no
"""A Brevitas network as hardware, from its QONNX file: every value of every node is golden's, under stalls."""

from pathlib import Path

import pytest

pytest.importorskip("brevitas")
pytest.importorskip("qonnx")
from popstream.hw.folding.drawn import random_folding
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Folding
from popstream.model.manifest import Network
from popstream.soak.networks import lay, together
from tests.examples.small import calibrated, taken
from tests.networks import random_images

pytestmark = pytest.mark.filterwarnings("ignore")
COUNT = 2
BODY = (("conv2", "conv3"), ("conv4", "conv5"))  # of a block, from codes to what is added


def case(place: Path, network: Network, folding: Folding, stalls: tuple[float, float]) -> Path:
    return lay(place, network, folding, random_images(network.input, 5, COUNT), *stalls, hold=7, seed=3)


def test_every_value_under_stalls(tmp_path):
    """Each layer in a stage of its own, with halves to even, and with codes -1 and +1 that a border of zeros is put
    around; and the convolutions of each block in a shared stage.
    """
    even = taken(calibrated(powers_of_two=True, act_bits=3), tmp_path / "even.onnx").network
    ternary = taken(calibrated(), tmp_path / "ternary.onnx").network
    signs = taken(calibrated(weight_bits=1, act_bits=1), tmp_path / "signs.onnx").network
    assert {node.op for node in even.nodes} >= {"add", "dequantize", "requant", "pool"}
    assert "even" in {node["ties"] for node in even.nodes if node.op == "requant"}
    inside = {name for names in BODY for name in names}
    rest = {name: fold for name, fold in random_folding(ternary, 1, 600).items() if name not in inside}
    shared = Folding(rest, tuple(Share(names, 4, 2, 2, planes=2) for names in BODY)).check(ternary)
    places = [
        case(tmp_path / "even", even, random_folding(even, 2, 600), (0.4, 0.4)),
        case(tmp_path / "ternary", ternary, shared, (0.0, 0.7)),
        case(tmp_path / "signs", signs, random_folding(signs, 3, 600), (0.5, 0.2)),
    ]
    (tmp_path / "bench").mkdir()
    for verdict in together(places, tmp_path / "build", tmp_path / "bench"):
        assert verdict.said is None
        assert verdict.counts["values"] > 1000 * COUNT
