"""A process that runs tests in children of its own: `python -m popstream.mutation.worker`, in the folder of the tests.

A line of JSON on the standard input asks, one on the standard output answers (Job, Answer). The modules named as
arguments, in which no fault is planted, are imported here, once; a child is this process forked, so that it costs what
its tests cost. When the standard input ends, so do the child that runs and this process: nothing is left of a command
that was killed.
"""

import contextlib
import importlib
import os
import re
import resource
import runpy
import select
import signal
import sys
import time
import traceback
from typing import Any

import msgspec
import pytest

__all__ = ["Answer", "Job"]

NO_TESTS = 5  # pytest's status where none is left


class Job(msgspec.Struct):
    """Tests to run, in this order until one fails, or a verb of popstream; with limits for the process.

    cpu: seconds of a processor. wall: seconds by the clock. memory: bytes of address space. cover: folders whose
    reached lines are recorded in the coverage file `data`; then every test runs, and no other order is kept.
    """

    files: list[str]
    tests: list[str] = []
    verb: list[str] = []
    cover: list[str] = []
    data: str = ""
    log: str = "/dev/null"
    cpu: float = 600.0
    wall: float = 3600.0
    memory: int = 8 * 2**30


class Answer(msgspec.Struct):
    """ended: "passed", "failed", "time" or "memory". said: what failed first. seconds: of a processor, by test."""

    ended: str
    said: str = ""
    failed: list[str] = []
    seconds: dict[str, float] = {}
    used: float = 0.0


class Watch:
    """A plugin of pytest: chooses and orders the tests, and notes how long each takes and what fails first."""

    def __init__(self, job: Job):
        self.place = {name: index for index, name in enumerate(job.tests)}
        self.answer = Answer("passed")
        self.began = 0.0

    @pytest.hookimpl(trylast=True)  # tests/conftest.py has an order of its own
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        if not self.place:
            return
        left = [item for item in items if item.nodeid not in self.place]
        config.hook.pytest_deselected(items=left)
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.began = used()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.answer.seconds[nodeid] = round(used() - self.began, 3)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed(report)

    def failed(self, report: Any) -> None:
        """Keep what the first failure said."""
        self.answer.failed.append(report.nodeid)
        if not self.answer.said:
            lines = [line[2:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
            named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning)\b", line)]
            self.answer.said = f"{report.nodeid}: {[*named, *lines, 'failed'][0]}"[:300]


def used() -> float:
    """Seconds of a processor that this process and its children took."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def tests(job: Job) -> Answer:
    """Run the tests of a job in this process."""
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0", "--rootdir=."]
    if job.cover:
        os.environ["COVERAGE_FILE"] = job.data
        arguments += [*(f"--cov={folder}" for folder in job.cover), "--cov-context=test", "--cov-report="]
    else:
        arguments += ["-x", "-p", "no:pytest_cov"]
    watch = Watch(job)
    status = pytest.main([*arguments, *job.files], plugins=[watch])
    if status not in (0, NO_TESTS):
        watch.answer.ended = "failed"
        watch.answer.said = watch.answer.said or f"pytest ends with status {int(status)}"
    return watch.answer


def verb(job: Job) -> Answer:
    """Run a verb of popstream in this process."""
    sys.argv[1:] = job.verb
    try:
        runpy.run_module("popstream", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            return Answer("failed", f"popstream {' '.join(job.verb)}: status {end.code}")
    return Answer("passed")


def child(job: Job, answers: int) -> None:
    """In the forked process: take the limits, do the job, answer."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(number, stream)
    resource.setrlimit(resource.RLIMIT_AS, (job.memory, job.memory))
    seconds = int(job.cpu) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = verb(job) if job.verb else tests(job)
    except BaseException:
        answer = Answer("failed", traceback.format_exc(limit=-1).splitlines()[-1][:300])
    if answer.ended == "failed" and ("MemoryError" in answer.said or "allocate memory" in answer.said):
        answer.ended = "memory"
    os.write(answers, msgspec.json.encode(answer))


def supervise(process: int, job: Job, answers: int) -> Answer:
    """The answer of a child that was started; it is killed at its time's end, and when the standard input ends."""
    began, content = time.monotonic(), b""
    try:
        while True:
            left = max(0.0, job.wall - (time.monotonic() - began))
            ready, _, _ = select.select([sys.stdin, answers], [], [], left)
            if sys.stdin in ready:  # only its end can be there: one job at a time
                raise EOFError
            if not ready:
                return Answer("time", f"not over after {job.wall:.0f} s")
            part = os.read(answers, 65_536)
            content += part
            if not part:
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        _, status, usage = os.wait4(process, 0)
    answer = Answer("failed", f"its process died with status {os.waitstatus_to_exitcode(status)}")
    if content:
        answer = msgspec.json.decode(content, type=Answer)
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        answer = Answer("time", f"not over after {job.cpu:.0f} s of a processor")
    answer.used = round(usage.ru_utime + usage.ru_stime, 2)
    return answer


def serve() -> None:
    """Take jobs until the standard input ends."""
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    asked = open(0, "rb", buffering=0)  # noqa: SIM115 no buffer, which a select would not see
    for line in iter(asked.readline, b""):
        job = msgspec.json.decode(line, type=Job)
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            child(job, writing)
            os._exit(0)
        os.close(writing)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(process, process)  # as it does: whoever comes first
        answer = supervise(process, job, reading)
        os.close(reading)
        os.write(1, msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):
        serve()
