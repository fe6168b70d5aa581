"""A clock of every path: our longest one is nextpnr's where it times all; what it leaves out is counted, and refused.

Small designs of block RAM, a multiplier and shift registers, placed and routed for each family in a few seconds.
"""

import json
import math
from collections import Counter

import pytest

from popstream.boards.board.board import Board
from popstream.boards.flow import place
from popstream.boards.flow.delays import read_delays
from popstream.boards.flow.place import route, synthesise
from popstream.boards.flow.timing import MARGINS, UNREGISTERED, Paths, Timing, analyse, longest
from popstream.boards.known import find
from popstream.hw.synthesis.mapped import unregistered

# From a block RAM through an XOR into a multiplier, whose product is registered: the path that Gowin's clock missed.
DESIGN = """
module top(input clk, input d, output q);
  reg [63:0] s; always @(posedge clk) s <= {s[62:0], d ^ s[63]};
  reg [17:0] mem [0:1023]; reg [17:0] word;
  always @(posedge clk) begin word <= mem[s[9:0]]; if (s[20]) mem[s[40:31]] <= s[61:44]; end
  reg [35:0] product; always @(posedge clk) product <= $signed(s[17:0]) * $signed(word ^ s[18:1]);
  reg r; always @(posedge clk) r <= ^product;
  assign q = r ^ less ^ sum[9];
  reg [9:0] sum; reg less;  // chains of carries, whose last goes on to a LUT
  always @(posedge clk) begin sum <= s[9:0] + s[19:10]; less <= (sum + 3) >= s[60:50]; end
endmodule
"""
PINS = {
    "ecp5": 'LOCATE COMP "clk" SITE "P6"; LOCATE COMP "d" SITE "P3"; LOCATE COMP "q" SITE "P4";',
    "ice40": "set_io clk 35\nset_io d 6\nset_io q 9\n",
    "gowin": 'IO_LOC "clk" 52;\nIO_LOC "d" 3;\nIO_LOC "q" 10;\n',
}
BOARDS = {"ecp5": "icepi-zero", "ice40": "icebreaker", "gowin": "tang-nano-9k"}


def ring(size: int, length: int = 24) -> str:
    """4 bits, and a register with `length` XORs of `size` inputs in a row before it, which are to be kept."""
    inputs = [f"I{pin}" for pin in range(size)]
    init = sum((bin(index & 3).count("1") & 1) << index for index in range(2**size))
    luts = "".join(
        f"(* keep *) LUT{size} #(.INIT({2**size}'d{init})) l{k}("
        + ", ".join(f".{name}({net})" for name, net in zip(inputs, [f"w[{k}]", "t[3]", "t[3]", "t[3]"], strict=False))
        + f", .F(w[{k + 1}]));\n"
        for k in range(length)
    )
    return f"""module top(input clk, input d, output q);
  wire x; (* keep *) LUT4 #(.INIT(16'h6666)) first(.I0(t[3]), .I1(d), .F(x));
  reg [3:0] t; always @(posedge clk) t <= {{t[2:0], x}};
  wire [{length}:0] w; reg r; assign w[0] = r; always @(posedge clk) r <= w[{length}];
  {luts} assign q = r;
endmodule
"""


def prepared(family: str, text: str, folder) -> Board:
    """A board, and in `folder` its netlist of Verilog `text` as our own synthesis makes it, and its pins."""
    board = find(BOARDS[family])
    (folder / "design.v").write_text(text)
    (folder / place.FLOWS[family].constraints).write_text(PINS[family])
    place.run("yosys", ["-q", "-p", "read_verilog -icells design.v; proc; write_rtlil top.il"], folder, "read.log")
    synthesise(board, folder)
    return board


@pytest.fixture(scope="module", params=BOARDS)
def routed(request, tmp_path_factory):
    """Family, folder, what place and route gave, and all of its paths."""
    folder, kept = tmp_path_factory.mktemp(request.param), []
    board = prepared(request.param, DESIGN, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "analyse", lambda path, *more: (kept.append(read_delays(path)), analyse(path, *more))[1])
        result = route(board, folder, 20.0, 1)
    return request.param, folder, result, Paths(kept[0])


def reported(folder) -> float:
    """The clock of nextpnr's own report."""
    return min(
        clock["achieved"] for clock in json.loads((folder / "seed1" / "report.json").read_text())["fmax"].values()
    )


def test_our_longest_path_is_nextpnrs_where_nothing_is_added(routed, monkeypatch):
    _, folder, _, paths = routed
    monkeypatch.setattr("popstream.boards.flow.timing.UNTRUE", frozenset())
    assert math.isclose(1e6 / longest(paths, {}), reported(folder), rel_tol=1e-4)


def test_what_nextpnr_does_not_time_is_counted_and_slower_with_margins(routed):
    family, folder, result, _ = routed
    if family == "ecp5":
        assert result.untimed_cells == {}
        assert result.fmax_mhz == round(reported(folder), 2)
    elif family == "ice40":  # three multipliers in a row, of which none has registers on both sides
        lacking = Counter(UNREGISTERED[where] for where in unregistered(folder / "top.json").values())
        assert result.untimed_cells == dict(lacking)
        assert set(lacking) == {UNREGISTERED[where] for where in ("output", "adder")}
        assert result.fmax_mhz < 1e3 / (11.8 + 14.6) < 60 < reported(folder)
    else:
        kinds = set(result.untimed_cells)
        assert {"MULT18X18", "LUT4"} < kinds < set(MARGINS["gowin"]) | {"LUT4"}
        assert result.untimed_pins["MULT18X18"] == 18 + 18 + 36
        assert result.fmax_mhz < 60 < 100 < reported(folder)
    assert result.nextpnr_mhz == round(reported(folder), 2)
    assert result.met == (result.fmax_mhz >= 20)
    assert not result.why
    assert not (folder / "seed1" / "delays.sdf").exists()


@pytest.mark.parametrize("size", [3, 4])
def test_a_ring_of_luts_that_would_run_at_422_mhz_is_refused(size, tmp_path):
    """nextpnr times none of 24 small LUTs in a row; as our flow routes them, all are timed."""
    result = route(prepared("gowin", ring(size), tmp_path), tmp_path, 54.0, 1)
    assert not result.met
    assert 20 < result.fmax_mhz < 50


def test_a_ring_of_luts_that_is_not_rewritten_has_no_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "widen_luts", lambda path: 0)
    result = route(prepared("gowin", ring(3), tmp_path), tmp_path, 54.0, 1)
    assert reported(tmp_path) > 200
    assert result.untimed_cells["LUT3"] == 24
    assert not result.met
    assert result.why == "nextpnr has no delays of LUT3, and there is no margin"


def test_a_design_of_which_nothing_is_timed_has_no_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "widen_luts", lambda path: 0)
    text = ring(3).replace("LUT4 #(.INIT(16'h6666))", "LUT2 #(.INIT(4'h6))")
    result = route(prepared("gowin", text, tmp_path), tmp_path, 54.0, 1)
    assert (result.fmax_mhz, result.met) == (0.0, False)
    assert result.why == "nextpnr has no delays of LUT2, LUT3, LUT4, and there is no margin"


SDF = """(CELL (CELLTYPE "top") (INSTANCE )
  (INTERCONNECT a/Q b/I0 (1:1:100) (1:1:100))
  (INTERCONNECT b/F {loop} (0:0:50) (0:0:60))
  (INTERCONNECT b/F a/D (0:0:300) (0:0:200))
)
  (CELLTYPE "DFF")
  (INSTANCE a)
  (IOPATH CLK Q (1:1:1000) (1:1:900))
  (SETUPHOLD (posedge D) (posedge CLK) (20:20:40) (0:0:0))
  (CELLTYPE "LUT4")
  (INSTANCE b)
  (IOPATH I0 F (1:1:500) (1:1:560))
  (IOPATH I1 F (1:1:600) (1:1:560))
  (CELLTYPE "{kind}")
  (INSTANCE c)
"""


@pytest.mark.parametrize(
    ("kind", "loop", "timing"),
    [
        ("OBUF", "c/I", Timing({}, {})),
        ("LUT4", "c/I0", Timing({}, {})),  # nothing comes out
        ("CRYSTAL", "c/I0", Timing({}, {})),
        ("OBUF", "b/I1", Timing({}, {})),
    ],
)
def test_what_leads_nowhere_is_no_path(kind, loop, timing, tmp_path):
    (tmp_path / "delays.sdf").write_text(SDF.format(kind=kind, loop=loop))
    assert analyse(tmp_path / "delays.sdf", "gowin") == timing


def test_paths_by_hand(tmp_path):
    """A register, a LUT, back into it; then with a cell in between that has no delays, or in a circle."""
    path = tmp_path / "delays.sdf"
    path.write_text(SDF.format(kind="OBUF", loop="c/I"))
    assert longest(Paths(read_delays(path)), {}) == 1000 + 100 + 560 + 300 + 40
    further = "  (INTERCONNECT c/DOUT a/D (0:0:7) (0:0:7))\n)\n"
    for kind, through in (("MULT18X18", 10_000), ("LUT4", 600)):  # a margin; the slowest of its kind
        path.write_text(SDF.format(kind=kind, loop="c/A").replace(")\n  (CELLTYPE", f"{further}  (CELLTYPE", 1))
        timing = analyse(path, "gowin")
        assert (timing.cells, timing.pins) == ({kind: 1}, {kind: 2})
        assert timing.mhz == 1e6 / (1000 + 100 + 560 + 60 + through + 7 + 40)
    path.write_text(
        path.read_text().replace('(CELLTYPE "LUT4")\n  (INSTANCE c)', '(CELLTYPE "CRYSTAL")\n  (INSTANCE c)')
    )
    assert analyse(path, "gowin").why == "nextpnr has no delays of CRYSTAL, and there is no margin"
    path.write_text(SDF.format(kind="MULT18X18", loop="c/A").replace("b/F a/D", "c/DOUT b/I1"))
    assert analyse(path, "gowin").why == "a path goes in a circle"
