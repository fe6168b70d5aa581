"""Cores and memory, also on a system that does not say all of it; interrupts that wait, and tools that end with us."""

import os
import signal
import threading
import time

import pytest

from popstream.model import machine
from popstream.model.machine import interrupts_held


def test_this_machine_says(monkeypatch):
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert machine.free_memory() > 2**20


def test_a_system_without_affinity_and_proc(monkeypatch, tmp_path):
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.cores() == 7
    answers = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000, "SC_AVPHYS_PAGES": 300}
    monkeypatch.setattr(os, "sysconf", answers.__getitem__)
    assert machine.free_memory() == 300 * 4096
    monkeypatch.setattr(os, "sysconf_names", {"SC_PAGE_SIZE": 0, "SC_PHYS_PAGES": 1})
    assert machine.free_memory() == 500 * 4096


def test_memory_that_caches_files_is_free(tmp_path, monkeypatch):
    said = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "MEMINFO", said)
    said.write_text("MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 60 kB\n")
    assert machine.free_memory() == 60 * 1024
    said.write_text("MemFree: 10 kB\n")
    assert machine.free_memory() > 2**20


def test_an_interrupt_waits_until_a_process_is_known():
    """Also where another thread would take the signal; and it is not lost."""
    stop, steps = threading.Event(), []
    waiting = threading.Thread(target=stop.wait)
    waiting.start()

    def begin() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            steps.append("begun")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert steps == ["begun"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stop.set()
    waiting.join()
    with interrupts_held():
        steps.append("again")
    assert steps == ["begun", "again"]
