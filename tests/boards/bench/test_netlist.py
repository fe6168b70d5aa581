# amaranth: UnusedElaboratable=no
"""Post-synthesis netlists under Verilator: golden's integers, and a flipped bit of a LUT is found.

The digits network's whole netlist is the slow one here: about a minute of synthesis and compilation.
"""

import json
import shutil
from pathlib import Path

import pytest

from popstream.boards.bench.netlist import SYNTHESISED, Netlist, flip_lut, map_network, models
from popstream.boards.flow.toolchain import ToolError
from popstream.cli import main
from popstream.sim.bench.run import SimulationError
from tests.boards.link_bench import ROOT, images_and_logits, tiny_link


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """The tiny network's link (for its images) and the folder of its netlist, every node tapped."""
    link, folder = tiny_link(), tmp_path_factory.mktemp("netlist")
    cells = map_network(link.network, link.folding, folder, taps=True)
    assert cells["SB_LUT4"] > 100
    return link, folder


def copy(folder, target):
    shutil.copytree(folder, target)
    return target


def test_every_node_of_a_netlist_is_golden_under_stalls(mapped, tmp_path):
    link, folder = mapped
    images, logits = images_and_logits(link, 12)
    report = Netlist(link.network, copy(folder, tmp_path / "a"), root=ROOT).compare(images, stall=0.3, seed=1)
    assert report.good
    assert report.values > 12 * (1 + logits.shape[1])  # nodes inside too


def test_a_flipped_lut_bit_is_found(mapped, tmp_path):
    """By a wrong value or a hang. Not every bit matters, so that several may be tried."""
    link, folder = mapped
    images, _ = images_and_logits(link, 12)
    for seed in (4, 0, 1, 2, 3):  # the first one is known to matter in the netlist of the pinned yosys
        changed = copy(folder, tmp_path / str(seed))
        flip_lut(changed, seed)
        try:
            found = str(Netlist(link.network, changed, root=ROOT).compare(images).divergence or "")
        except SimulationError as error:
            found = str(error)
        if found:
            break
    assert found.startswith(("node ", "The accelerator hangs"))


def test_a_flip_is_one_bit(mapped, tmp_path):
    _, folder = mapped
    changed = copy(folder, tmp_path / "b")
    flip = flip_lut(changed, seed=1)
    before, after = (json.loads((path / SYNTHESISED).read_text())["modules"]["top"] for path in (folder, changed))
    tables = [module["cells"].pop(flip.cell)["parameters"]["LUT_INIT"] for module in (before, after)]
    assert int(tables[0], 2) ^ int(tables[1], 2) == 1 << flip.bit
    assert before == after


def test_the_digits_networks_netlist_is_golden(tmp_path, monkeypatch, capsys):
    root = Path.cwd() / ROOT
    monkeypatch.chdir(tmp_path)
    written = root / "digits-w1a2" / "netlist.json"
    written.unlink(missing_ok=True)
    assert main(["netlist", "digits-w1a2", "--images", "3", "--root", str(root)]) == 0
    assert not list(tmp_path.iterdir())  # --root moves every file
    figures = json.loads(written.read_text())
    assert (figures["images"], figures["values"], figures["mismatches"]) == (3, 33, 0)
    assert figures["lut"] == figures["cells"]["SB_LUT4"] > 2000
    assert figures["ebr"] == figures["cells"]["SB_RAM40_4K"] > 5
    assert "33 values compared with golden, 0 images with a mismatch" in capsys.readouterr().out


def test_missing_models_and_networks_are_one_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "yosys").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"No cell models at .*share/yosys/ice40/cells_sim\.v"):
        models()
    assert main(["netlist", "no-such-net"]) == 2
    assert capsys.readouterr().err.startswith("error: NET: 'no-such-net' is no network; ")
