"""A simulator ends with the process that waits for it: killed, or interrupted by a signal that reaches it alone."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from popstream.boards.bench import mutants
from popstream.boards.bench.mutants import Mutant, Mutants
from popstream.sim.bench.build import build
from popstream.sim.bench.top import generate
from tests.processes import working_in
from tests.sim import standin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")

ROOT = Path("build/tests")
LONG = 20_000  # images: many seconds
SOON = 60  # seconds, on a busy machine
PROGRAM = """
import sys
from pathlib import Path
from popstream.sim.bench.run import simulate
from tests.sim import standin
try:
    simulate(Path(sys.argv[1]), standin.top(), standin.random_codes(1, {images}), processes=2,
             progress=lambda count: print(count, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


def simulators(parent: int) -> list[int]:
    """The processes that `parent` started and that still run, whoever looks after them now."""
    return working_in(lambda place: f".{parent}/" in f"{place}/" and "/.run-" in place)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "ctrl-c"])
def test_no_simulator_is_left(tmp_path, number, status):
    model = build(standin.write(tmp_path), generate(standin.top()), ROOT, 0)
    command = [sys.executable, "-c", PROGRAM.format(images=LONG), str(model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 10:
        assert process.poll() is None
    assert len(simulators(process.pid)) == 2
    process.send_signal(number)  # not to its group, as a terminal would
    began = time.monotonic()
    process.stdout.close()
    assert process.wait(SOON) == status
    while left := simulators(process.pid):
        assert time.monotonic() < began + SOON, left
        time.sleep(0.05)


def test_an_interrupt_ends_the_simulators_of_planted_faults(monkeypatch):
    """The one that begins just then, too; and no other fault is tried."""
    bench, asked, tried = Mutants.__new__(Mutants), threading.Event(), []

    def verdict(mutant: Mutant):
        tried.append(mutant.number)
        if len(tried) == 2:
            raise KeyboardInterrupt
        assert asked.wait(SOON)

    monkeypatch.setattr(mutants, "stop", asked.set)
    monkeypatch.setattr(bench, "verdict", verdict, raising=False)
    monkeypatch.setattr(bench, "kept", lambda found: [], raising=False)
    with pytest.raises(KeyboardInterrupt):
        bench.verdicts([Mutant(number, "inv", "cell", "A", 0, None) for number in range(1, 9)], 2)
    assert asked.is_set()
    assert len(tried) == 2
