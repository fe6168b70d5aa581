"""Small LUTs of a Gowin netlist, called LUT4: the same function, whatever the open inputs are."""

import json

import numpy as np
import pytest

from popstream.hw.synthesis.mapped import unregistered, widen_luts


@pytest.mark.parametrize("inputs", [1, 2, 3, 4])
def test_a_widened_lut_gives_the_same(tmp_path, inputs):
    entries = 2**inputs
    init = "".join(np.random.default_rng(inputs).choice(["0", "1"], entries))
    pins = {f"I{pin}": [pin + 2] for pin in range(inputs)}
    lut = {"type": f"LUT{inputs}", "parameters": {"INIT": init}, "connections": pins | {"F": [9]}}
    other = {"type": "ALU", "parameters": {"ALU_MODE": "10"}, "connections": {}}
    path = tmp_path / "top.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": {"lut": lut, "alu": other}}}}))
    assert widen_luts(path) == (inputs < 4)
    cells = json.loads(path.read_text())["modules"]["top"]["cells"]
    assert cells["lut"]["type"] == "LUT4"
    assert cells["lut"]["connections"] == lut["connections"]
    assert cells["alu"] == other
    whole, part = int(cells["lut"]["parameters"]["INIT"], 2), int(init, 2)
    assert len(cells["lut"]["parameters"]["INIT"]) == 16
    assert all(whole >> index & 1 == part >> index % entries & 1 for index in range(16))


@pytest.mark.parametrize(
    ("shown", "registers", "where"),
    [("1", "1", ""), ("1", "0", "inputs"), ("0", "1", "adder"), ("10", "1", "output"), ("11", "0", "output")],
)
def test_where_a_multiplier_lacks_a_register(shown, registers, where, tmp_path):
    """By yosys' parameters of an SB_MAC16: what its outputs show, and whether A and B are kept; C is not wired."""
    parameters = {f"{half}OUTPUT_SELECT": shown.zfill(2) for half in ("TOP", "BOT")}
    parameters |= {"A_REG": registers, "B_REG": "1", "C_REG": "0"}
    cell = {"type": "SB_MAC16", "parameters": parameters, "connections": {"A": [2, "0"], "B": [3], "C": ["0"]}}
    path = tmp_path / "top.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": {"m": cell}}}}))
    assert unregistered(path) == ({"m_DSP": where} if where else {})
