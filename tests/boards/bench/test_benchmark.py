"""make bench: the row and its arithmetic, when a bitstream is taken and when it is built, the tables."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from popstream.boards.bench import benchmark as bench
from popstream.boards.bench.benchmark import COLUMNS, KEYS, benchmark, markdown, save_row, settings
from popstream.boards.flow.build import TRIES
from popstream.boards.known import find
from popstream.cli import main
from popstream.hw.folding.folding import interval
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network, save
from tests.networks import random_network

ROOT = Path("build/tests").resolve()
BOARD = "ulx3s-25f"
COUNTED = SimpleNamespace(
    interval=100.0, lanes=np.array([8, 8]), latency=300, busy=90.0, predicted=100, answer=SimpleNamespace(labels=[1])
)


@pytest.fixture(scope="module")
def network():
    return random_network(8, height=6, width=6, channels=(4,), strides=(1,), name="counted", first_bits=(2, 2))


def figures_of(network, folding, /, **changes):
    """What boards.flow.build writes, of a bitstream that was never built."""
    used = dict(lut=2000, ff=1500, ebr=3, dsp=2, lut_total=24_288, ff_total=24_288, ebr_total=56, dsp_total=28)
    return dict(
        network=network.name, board=BOARD, device="LFE5U-25F", **used, target_mhz=60.0, fmax_mhz=80.0, timing_met=True,
        seed=0, seeds={"0": 80.0}, interval_cycles=max(interval(network, folding).values()), network_hash=network.hash,
        folding=folding.to_dict(), tools={"yosys": "0"},
    ) | changes  # fmt: skip


@pytest.fixture
def place(network, tmp_path, monkeypatch):
    """An empty working folder with the manifest in net/, and what `build` was called with."""
    save(network, tmp_path / "net")
    monkeypatch.chdir(tmp_path)
    calls = []

    def build(board, network, folding, mhz, seeds, folder, console, reuse):
        calls.append((board.name, folding, mhz, seeds, reuse))
        figures = figures_of(network, folding, board=board.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bitstream.json").write_text(json.dumps(figures))
        return figures

    monkeypatch.setattr(bench, "build", build)
    return calls


@pytest.mark.parametrize(("training", "top1"), [({}, 91.5), ({"untrained": True}, None)])
def test_an_untrained_network_has_no_accuracy(network, training, top1):
    named = Network.build("named", network.data, network.classes, network.nodes, {"top1_frozen": 91.5}, training)
    row = bench.row_of(named, figures_of(named, solve(named, 900)), COUNTED)
    assert row["top1"] == top1
    assert ("untrained" in markdown([row])) == (top1 is None)


def test_an_imported_network_has_the_accuracy_that_was_measured(network, tmp_path):
    """Of this network alone, and none before it was."""
    imported = Network.build("mine", network.data, network.classes, network.nodes)
    measured = tmp_path / "mine" / "accuracy.json"

    def row():
        return bench.row_of(imported, figures_of(imported, solve(imported, 900)), COUNTED, tmp_path)

    assert row()["top1"] is None
    assert "untrained" not in markdown([row()])
    measured.parent.mkdir()
    measured.write_text(json.dumps({"network_hash": imported.hash, "top1_golden": 56.25}))
    assert row()["top1"] == 56.25
    assert "56.25 %" in markdown([row()])
    measured.write_text(json.dumps({"network_hash": "another", "top1_golden": 56.25}))
    assert row()["top1"] is None


def test_a_row(network, place, capsys):
    given = ["net", "--root", str(ROOT), "--optimize", "0"]
    path = ROOT / "bench.json"
    path.unlink(missing_ok=True)
    shutil.rmtree(ROOT / "counted", ignore_errors=True)
    other = {"network": "another", "board": BOARD, "images_per_s": 1}
    assert main(["bench", *given]) == 2
    assert (
        capsys.readouterr().err == "error: no bitstream of counted is built; name a board: popstream bench net BOARD\n"
    )
    assert main(["bench", *given, BOARD, "--interval", "900"]) == 0
    assert [made.name for made in Path().iterdir()] == ["net"]  # --root moves every file
    (row,) = json.loads(path.read_text())
    assert set(KEYS) <= row.keys()
    assert place == [(BOARD, bench.fold(find(BOARD), network, 900), find(BOARD).mhz, range(TRIES), True)]
    folding = place[0][1]
    assert row["interval_cycles"] == pytest.approx(max(interval(network, folding).values()), rel=0.1)
    assert row["images_per_s"] == pytest.approx(80e6 / row["interval_cycles"], abs=1)
    assert row["lanes"] == sum(fold.lanes for fold in folding.values() if fold.arithmetic == "lanes")
    assert row["lut_per_lane"] == pytest.approx(2000 / row["lanes"], abs=0.01)
    assert row["images_per_s_per_klut"] == pytest.approx(row["images_per_s"] / 2, abs=0.5)
    assert row["latency_us"] == pytest.approx(row["latency_cycles"] / 80, abs=0.1)
    assert 30 < row["busy"] <= 100
    printed = capsys.readouterr().out
    assert "images/s = routed clock / measured interval" in printed

    save_row(path, other | {name: row[name] for name in row if name not in other})
    assert main(["bench", *given]) == 0  # every board that has a bitstream, built as it was
    assert place[1] == place[0]
    rows = json.loads(path.read_text())
    assert [found["network"] for found in rows] == ["another", "counted"]
    assert {name: rows[1][name] for name in KEYS} == {name: row[name] for name in KEYS}
    lines = path.with_suffix(".md").read_text().splitlines()
    assert len(lines) == 2 + 2 + 1 + len(bench.PUBLISHED)
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert "| counted | LFE5U-25F (ulx3s-25f) |" in markdown(rows)
    assert "nn2FPGA ResNet-20, 8 bit" in lines[-2]


def test_what_it_is_built_with(network, tmp_path):
    """What the options say, else what the last build of this network was made with, else the board's defaults."""
    board, path, other = find(BOARD), tmp_path / "bitstream.json", solve(network, 300)
    other.save(tmp_path / "other.json")
    fastest = bench.fold(board, network, None)
    assert settings(path, board, network) == (fastest, board.mhz, range(TRIES))
    path.write_text(json.dumps(figures_of(network, other, target_mhz=72.5, seeds={"2": 70.0, "3": 80.0})))
    assert settings(path, board, network) == (other, 72.5, range(2, 2 + TRIES))
    assert settings(path, board, network, 900)[0] == bench.fold(board, network, 900)
    assert settings(path, board, network, freq=50, seed=7)[1:] == (50, range(7, 7 + TRIES))
    assert settings(path, board, network, tries=3)[2] == range(3)
    path.write_text(json.dumps(figures_of(network, other)))
    assert settings(path, board, network)[1:] == (board.mhz, range(TRIES))
    path.write_text(json.dumps(figures_of(network, other, network_hash="0")))
    assert settings(path, board, network)[0] == fastest
    assert settings(path, board, network, file=tmp_path / "other.json")[0] == other


def test_rebuild(network, place):
    console = Console(quiet=True)
    for rebuild in (False, True):
        benchmark(find(BOARD), network, console, interval=900, root=ROOT, optimize=0, rebuild=rebuild)
        assert place[-1][-1] is not rebuild


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        (["nowhere", BOARD], 2, "'nowhere' is no network"),
        (["net", "arty"], 2, "'arty' is no board"),
        (["net", "arty-a7-100"], 1, "arty-a7-100 is not routed by the open tools, so its clock is not known"),
        (["net", BOARD, "--folding", "none.json"], 2, "none.json is not there"),
    ],
)
def test_errors_are_one_line(place, capsys, given, status, message):
    assert main(["bench", *given]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
