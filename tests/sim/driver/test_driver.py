"""The driver program, on a hand-written module: what comes out under stalls, hangs, results too many, errors."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from popstream.sim.bench.top import Top
from popstream.sim.driver.driver import arguments_for, beats, build_driver, model_text, read_answer
from popstream.sim.driver.worker import ProgramError, run, unpack
from popstream.sim.verilator.tools import BuildError
from tests.sim import standin

ROOT = Path("build/tests")
IMAGES = 40
EXPECTED = float(standin.PIXELS)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    verilog = standin.write(tmp_path_factory.mktemp("standin"))
    return build_driver(verilog, standin.top(), root=ROOT, optimize=0).read_bytes()


def simulate(program, codes, **options):
    top = standin.top()
    arguments = arguments_for(top, len(codes), expected=EXPECTED, **options)
    output, seconds, cpu, counts = run(program, arguments, beats(codes, top.bits))
    assert seconds > 0
    assert cpu > 0
    assert counts == b""
    return read_answer(top, len(codes), output)


@pytest.mark.parametrize("stall", [0, 0.3, 0.8])
def test_every_result(program, stall):
    codes = standin.random_codes(1, IMAGES)
    answer = simulate(program, codes, stall=stall, seed=3)
    logits, _ = standin.golden(codes)
    assert np.array_equal(answer.logits, logits)
    assert np.array_equal(answer.labels, logits.argmax(1))
    assert np.all(np.diff(answer.accepted) > 0)
    assert np.all(answer.emitted - answer.accepted >= standin.PIXELS)
    assert answer.cycles > answer.emitted[-1]
    if stall:
        assert answer.emitted[-1] > 1.5 * IMAGES * standin.PIXELS
    else:
        assert set(np.diff(answer.accepted)) == set(np.diff(answer.emitted)) == {standin.PIXELS}
        assert set(answer.emitted - answer.accepted) == {standin.PIXELS}


def test_stalls_depend_on_the_seed_and_the_part_alone(program):
    codes = standin.random_codes(2, 6)
    choices = [(0, 0), (0, 0), (1, 0), (0, 1)]
    times = [simulate(program, codes, stall=0.5, seed=seed, part=part).emitted for seed, part in choices]
    assert np.array_equal(times[0], times[1])
    assert not np.array_equal(times[0], times[2])
    assert not np.array_equal(times[0], times[3])


def test_hang_says_where(program):
    codes = standin.random_codes(3, 5)
    codes[2, :, 1, 1] = standin.STUCK
    place = r"The accelerator hangs: no beat moved for too long at cycle \d+: 2 of 5 images accepted, 2 results"
    with pytest.raises(ProgramError, match=place):
        simulate(program, codes)


def test_a_result_too_many(program):
    codes = standin.random_codes(4, 2)
    codes[1, :, -1, -1] = standin.TWICE
    with pytest.raises(ProgramError, match="a result too many at cycle"):
        simulate(program, codes)


def test_results_without_end_are_told(program):
    codes = standin.random_codes(4, 5)
    codes[2, :, 1, 1] = standin.ENDLESS
    with pytest.raises(ProgramError, match="a result too many at cycle"):
        simulate(program, codes)


def test_too_few_beats_end_it(program):
    top, codes = standin.top(), standin.random_codes(5, 3)
    with pytest.raises(ProgramError, match="The simulator ended with status 2 on "):
        run(program, arguments_for(top, 4, expected=EXPECTED), beats(codes, top.bits))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs are unpacked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"popstream-{os.getuid()}"


def test_the_program_is_unpacked_once(folder):
    path = unpack(b"program")
    before = path.stat()
    assert path.parent == folder
    assert unpack(b"program") == path
    assert path.stat() == before
    assert [found.stat().st_mode & 0o777 for found in (path, folder)] == [0o700, 0o700]
    assert list(folder.iterdir()) == [path]


def test_what_is_run_is_what_was_sent(folder, tmp_path):
    path = unpack(b"program")
    path.write_bytes(b"changed")
    assert unpack(b"program").read_bytes() == b"program"
    path.unlink()
    (tmp_path / "other").write_bytes(b"program")
    path.symlink_to(tmp_path / "other")
    assert unpack(b"program") == path
    assert not path.is_symlink()


def test_a_folder_that_is_not_private_is_refused(folder, tmp_path, monkeypatch):
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(ProgramError, match=r"popstream-\d+ can be read or written by others; chmod 700 it"):
        unpack(b"program")
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProgramError, match="must be a folder of this user's; remove it"):
        unpack(b"program")
    folder.unlink()
    folder.mkdir(mode=0o700)
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    folder.rename(tmp_path / f"popstream-{another}")
    with pytest.raises(ProgramError, match="must be a folder of this user's; remove it"):
        unpack(b"program")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_beats():
    codes = np.array([[[[1, 2], [3, 0]], [[0, 1], [2, 3]]]], np.uint8)  # 2 channels, 2x2 pixels
    assert np.frombuffer(beats(codes, 2), "<u4").tolist() == [0b0001, 0b0110, 0b1011, 0b1100]
    wide = np.arange(5, dtype=np.uint8).reshape(1, 5, 1, 1)
    assert beats(wide, 8) == bytes([0, 1, 2, 3, 4, 0, 0, 0])


def test_arguments_and_answers_are_checked(tmp_path):
    top = standin.top()
    with pytest.raises(ValueError, match="Stall must be a probability from 0 to below 1, not 1"):
        arguments_for(top, 1, expected=9, stall=1)
    with pytest.raises(ValueError, match="2 results and a count must be 80 bytes, not 79"):
        read_answer(top, 2, bytes(79))
    with pytest.raises(ValueError, match="Optimization must be 0 to 3, not 4"):
        build_driver(standin.write(tmp_path), top, optimize=4)
    assert "lanes_busy" not in model_text(top)
    assert "output [4:0] lanes_blocked" in model_text(top, 5)


def test_a_failure_leaves_a_log(tmp_path):
    broken = tmp_path / "broken.v"
    broken.write_text("module top(input clk);\n  wire [3:0] narrow = 8'd200;\nendmodule\n")
    with pytest.raises(BuildError, match=r"broken.v: %Error-PINNOTFOUND: driver.sv:.*; log in .*failed-.*log"):
        build_driver(broken, Top((1, 1, 1), 1, 1), root=tmp_path / "root")
    assert [path.suffix for path in (tmp_path / "root" / "verilator").iterdir()] == [".log"]
