"""Sweeps: SIGKILL loses and repeats no run; two nodes of a cluster give the same table."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from popstream.model.sweeping import sweep
from popstream.model.sweeping.spec import Spec, load_spec
from popstream.model.sweeping.underway import finished
from popstream.model.training.recipe import RecipeError
from tests.model.sweeping.small import ONE, SPEC, write

ROOT = Path(__file__).parents[3]
RUNS = ["float-seed0", "float-seed1", "bits-w1-a2-seed0", "bits-w1-a2-seed1"]
CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
from popstream.cli import main
code = main(["sweep", *sys.argv[1:]])
cluster.shutdown()
sys.exit(code)
"""


def rows(folder):
    """The table: every row without what differs from one execution to the next."""
    content = json.loads((folder / "runs.json").read_text())
    return [{k: v for k, v in row.items() if k not in ("minutes", "node")} for row in content["runs"]]


def workers(driver):
    """The processes below `driver` that train, by /proc."""
    parents, training = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith(b"ray::work"):
                training.append(int(path.name))
    for worker in training:
        above = worker
        while above in parents and above != driver:
            above = parents[above]
        if above == driver:
            yield worker


def kill_a_run(driver, out):
    """Kill the processes that train, once one of them is in the middle of a run."""
    while driver.poll() is None:
        if any(not (path.parent / "final.pt").exists() for path in out.glob("*/state.pt")):
            found = list(workers(driver.pid))
            for worker in found:
                os.kill(worker, signal.SIGKILL)
            if found:
                return
        time.sleep(0.01)
    raise AssertionError("every run ended before its process could be killed")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A sweep whose driver is killed after its first run and started again at once, and then loses a process."""
    folder = tmp_path_factory.mktemp("sweep")
    command = [
        sys.executable,
        "-m",
        "popstream",
        "sweep",
        str(write(folder)),
        "--out",
        str(folder / "out"),
        "--jobs",
        "2",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    done = first.stdout.readline().split(":")[0]
    os.kill(first.pid, signal.SIGKILL)
    first.stdout.close()
    assert first.wait() == -signal.SIGKILL
    before = {p.parent.name: p.stat().st_mtime_ns for p in (folder / "out").glob("*/final.pt")}
    second = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    kill_a_run(second, folder / "out")
    printed, _ = second.communicate()
    assert second.returncode == 0, printed
    return folder / "out", done, before, printed


@pytest.mark.timeout(900)
def test_a_killed_sweep_goes_on_without_losing_or_repeating_a_run(interrupted):
    out, done, before, printed = interrupted
    assert [row["run"] for row in rows(out)] == RUNS
    assert done in before
    assert (out / done / "final.pt").stat().st_mtime_ns == before[done]  # not trained again
    assert "4 runs done, 0 failed" in printed
    for name in RUNS:
        log = torch.load(out / name / "final.pt", weights_only=True)["log"]
        assert [(row["phase"], row["epoch"]) for row in log] == [("train", 1), ("train", 2)]
        assert (out / name / "train.log").read_text().count("train 2/2: loss") == 1
    assert [row["top1_frozen"] is None for row in rows(out)] == [True, True, False, False]
    made = json.loads((out / RUNS[2] / "manifest" / "network.json").read_text())["training"]["command"]
    assert made == f"make sweep SPEC=small, run {RUNS[2]}"


def test_no_finished_run_is_missing_from_the_table_of_a_sweep_that_goes_on(interrupted, tmp_path, monkeypatch):
    """The first row that is written anew stands among all the others: a kill right after it loses none."""
    spec = load_spec(interrupted[0].parent / "small.toml")
    written = []
    monkeypatch.setattr(sweep, "write_json", lambda path, content: written.append(len(content["runs"])))
    sweep.run_sweep(spec, interrupted[0], 1)
    assert written == [len(RUNS)] * len(RUNS)


def test_runs_begin_in_the_lists_order(tmp_path):
    """A student comes before what stands behind it and needs no teacher; never more than there is room for."""
    other = '[[group]]\nname = "other"\nrecipe = "one.toml"\n'
    runs = list(load_spec(write(tmp_path, SPEC + other)).runs)
    names = [run.name for run in runs]
    assert names == [*RUNS, "other-seed0", "other-seed1"]

    def following(done, places):
        return [run.name for run in sweep.next_runs([run for run in runs if run.name not in done], done, places)]

    assert following([], 1) == names[:1]
    assert following([], 3) == [*names[:2], "other-seed0"]
    assert following(names[:1], 1) == names[1:2]
    assert following(names[:2], 1) == names[2:3]
    assert following(names[1:2], 3) == ["float-seed0", "bits-w1-a2-seed1", "other-seed0"]
    assert following([], 0) == following(names, 2) == []


@pytest.mark.parametrize(
    ("cpus", "gpus", "have", "places"),
    [(1, 0, {"CPU": 2.0}, 2), (2, 0, {"CPU": 5.0}, 2), (4, 0, {}, 1), (1, 0.25, {"CPU": 16.0, "GPU": 1.0}, 4)],
)
def test_room_is_what_the_processors_take(cpus, gpus, have, places):
    assert sweep.room(Spec("s", "", cpus, gpus, ()), have) == places


def test_a_student_of_another_teacher_is_not_taken_for_finished(interrupted, tmp_path):
    """The teacher was trained anew by another recipe: the student's own recipe is the same, its result is not."""
    shutil.copytree(interrupted[0] / RUNS[2], tmp_path / "out" / RUNS[2])
    shutil.copytree(interrupted[0] / RUNS[0], tmp_path / "out" / RUNS[0])
    spec = load_spec(write(tmp_path, one=ONE))
    assert sweep.finished(spec.runs[2], tmp_path / "out") is not None
    changed = load_spec(
        write(tmp_path, SPEC.replace('recipe = "one.toml"', 'recipe = "one.toml"\nset = {"phase.*.lr" = 0.07}', 1))
    )
    student = changed.runs[2]
    assert student.recipe == spec.runs[2].recipe
    assert sweep.finished(student, tmp_path / "out") is None
    row = sweep.train_run(student, tmp_path / "out", "cpu", 1, False, "")
    assert f"float-seed0 changed after it was begun; remove {tmp_path}/out/{RUNS[2]} to start again" in row["error"]


@pytest.mark.timeout(900)
def test_two_nodes_give_the_same_table(interrupted, tmp_path):
    spec = interrupted[0].parent / "small.toml"
    command = [sys.executable, "-c", CLUSTER, str(spec), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "out") == rows(interrupted[0])
    content = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert len({row["node"] for row in content["runs"]}) == 2


def test_a_failed_run_is_named_and_tried_again(tmp_path):
    spec = load_spec(write(tmp_path))
    missing = sweep.train_run(spec.runs[2], tmp_path / "out", "cpu", 1, False, "")  # its teacher was not trained
    assert "No checkpoint" in missing["error"]
    assert "failed: No checkpoint" in sweep.line(missing)
    assert not (tmp_path / "out" / spec.runs[2].name / "result.json").exists()


@pytest.mark.parametrize(("text", "message"), [
    ("{", "result.json: not valid JSON, or cut short"), ("{}", "result.json: the result lacks 'recipe'"),
    ('{"recipe": 3, "row": {}}', "result.json: recipe must be a table, not 3"),
])  # fmt: skip
def test_a_damaged_result_is_named(tmp_path, text, message):
    run = load_spec(write(tmp_path)).runs[0]
    (tmp_path / "out" / run.name).mkdir(parents=True)
    (tmp_path / "out" / run.name / "result.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        finished(run, tmp_path / "out")
