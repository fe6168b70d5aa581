"""Brevitas ResNets of other bits and scales, in small; brevitas_grid.py takes more of them on more images."""

import pytest

pytest.importorskip("brevitas")
pytest.importorskip("qonnx")
import brevitas.nn as qnn

from popstream.model.qonnx.load import QonnxError
from tests.examples.brevitas_grid import compared, found_in, networks
from tests.examples.small import Kinds, calibrated, taken

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("how", [
    dict(weight_bits=1, act_bits=8),
    dict(weight_bits=2, act_bits=3, separate=True),
    dict(weight_bits=8, act_bits=4),
    dict(weight_bits=1, act_bits=1),
    dict(weight_bits=2, act_bits=1, separate=True),
], ids=str)  # fmt: skip
def test_every_code_of_every_quantizer(how):
    assert how in networks()
    found = compared(found_in(how), 2)
    assert len(found) >= 12
    assert {row.node: row.mismatches for row in found if row.mismatches} == {}


def test_powers_of_two_are_full_of_halves():
    """Thousands of sums lie exactly between two codes, and every code is the executor's."""
    found = compared(found_in(dict(weight_bits=4, act_bits=4, powers_of_two=True)), 20)
    assert sum(row.halves for row in found) > 2000
    assert {row.node: row.mismatches for row in found if row.mismatches} == {}


def test_one_bit_behind_a_relu_is_refused(tmp_path, monkeypatch):
    """Brevitas has 0 and scale; its file has +scale alone."""

    def relu(kinds):
        return qnn.QuantReLU(act_quant=kinds.codes, bit_width=1, return_quant_tensor=True)

    monkeypatch.setattr(Kinds, "relu", relu)
    said = "makes .1 of all that a ReLU leaves, as Brevitas exports a QuantReLU of 1 bit; take 2 bits, or leave out"
    with pytest.raises(QonnxError, match=said):
        taken(calibrated(act_bits=1), tmp_path / "net.onnx")
