"""Many images by Ray: on two processes, killed and gone on with, no image lost, repeated or mixed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from popstream.hw.solver.solve import solve
from popstream.model.manifest import find, load
from popstream.model.workers import WorkersError
from popstream.sim import golden
from popstream.sim.driver import worker
from popstream.sim.driver.farm import DriverModel, cluster, plan, simulate_many
from popstream.sim.rtl.images import images_for
from tests.networks import random_images, random_network

ROOT = Path("build/tests")
PART = 12
RUN = f"""
import sys
from pathlib import Path
from popstream.hw.solver.solve import solve
from popstream.model.manifest import find, load
from popstream.sim.driver.farm import DriverModel, simulate_many
from popstream.sim.rtl.images import images_for
from tests.sim.driver.listening import listening
network = load(find("digits-w1a2"))
model = DriverModel(network, solve(network), optimize=0, root=Path({str(ROOT)!r}))
places = set()
def look(done):
    places.update(listening())
simulate_many(model, images_for(network, 360).codes, Path(sys.argv[1]), processes=2, part={PART}, progress=look)
print(*sorted(places))
"""


def parts(folder):
    """Every part that is done: its name, when it was written and its file's number."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("*/[0-9]*.npz")}


def test_killed_and_gone_on_with(tmp_path):
    network = load(find("digits-w1a2"))
    model = DriverModel(network, solve(network), optimize=0, root=ROOT)
    codes = images_for(network, 360).codes
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], env=environment, start_new_session=True)
    deadline = time.monotonic() + 300
    while len(parts(tmp_path)) < 3:
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = parts(tmp_path)
    assert 3 <= len(before) < len(codes) // PART
    again = [sys.executable, "-c", RUN, str(tmp_path)]
    done = subprocess.run(again, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    if sys.platform == "linux":
        assert done.stdout.split() == ["127.0.0.1"]  # where Ray can be reached
    after = parts(tmp_path)
    assert before.items() <= after.items()  # none was run again
    assert sorted(after) == [f"{start:06d}.npz" for start in range(0, len(codes), PART)]

    seen = []
    result = simulate_many(model, codes, tmp_path, part=PART, progress=seen.append)  # nothing is left to run
    assert seen == [len(codes)]
    assert parts(tmp_path) == after
    assert np.array_equal(result.logits, golden.run_batches(network, codes))
    assert np.array_equal(result.labels, golden.labels(result.logits))
    assert len(result.accepted) == len(result.emitted) == len(codes)
    assert result.interval == pytest.approx(model.predicted, rel=0.1)
    assert result.cycles > len(codes) * result.interval


def test_other_work_starts_afresh(tmp_path, monkeypatch):
    """Another network, folding, RTL, set of images, stall, seed or size of a part shares no result."""
    network, other = (random_network(seed, height=4, width=4, channels=(3,), strides=(1,)) for seed in (1, 2))
    monkeypatch.setattr("popstream.sim.driver.farm.build_driver", lambda *_, **__: None)
    choices = [(network, 900), (network, 300), (other, 900)]
    models = [DriverModel(net, solve(net, interval), root=ROOT) for net, interval in choices]
    assert len({model.design for model in models}) == 3
    changed = DriverModel(network, solve(network, 900), root=ROOT)
    assert changed.design == models[0].design
    codes = random_images(network.input, 1, 6)

    def place(model=changed, images=codes, stall=0.0, seed=0, part=4):
        return plan(model, images, tmp_path, stall, seed, part)[0]

    places = [place(model) for model in models]
    places += [place(images=codes[:5]), place(images=codes[::-1].copy()), place(part=3)]
    places += [place(stall=0.5), place(stall=0.5, seed=1)]
    assert len(set(places)) == len(places)
    assert place() == places[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "Processes must be at least 1, not 0"),
        ({"part": 0}, "Images a part must be at least 1, not 0"),
        ({"stall": 1.0}, "Stall must be a probability from 0 to below 1, not 1.0"),
        ({"codes": np.zeros((2, 3, 4, 5), np.uint8)}, r"Images must be uint8 \[N, 3, 4, 4\], not uint8 \(2, 3, 4, 5\)"),
    ],
)
def test_arguments(tmp_path, monkeypatch, options, message):
    network = random_network(1, height=4, width=4, channels=(3,), strides=(1,))
    monkeypatch.setattr("popstream.sim.driver.farm.build_driver", lambda *_, **__: None)
    model = DriverModel(network, solve(network, 900), root=ROOT)
    arguments = {"codes": random_images(network.input, 1, 2)} | options
    with pytest.raises(ValueError, match=message):
        simulate_many(model, folder=tmp_path, **arguments)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkersError, match=r"Package ray is missing; make \.venv/\.farm brings it"):
        cluster(1).__enter__()


class FakeRay(ModuleType):
    """Records how it was started; fails if told so."""

    def __init__(self, fails=False):
        super().__init__("ray")
        self.fails, self.calls, self.by_value = fails, [], []
        self.cloudpickle = SimpleNamespace(
            register_pickle_by_value=self.by_value.append, unregister_pickle_by_value=self.by_value.remove
        )

    def init(self, **options):
        self.calls.append(options)
        if self.fails:
            raise ConnectionError("Failed to connect\nto it")

    def shutdown(self):
        self.calls.append("shutdown")


def test_a_cluster_if_one_is_named_else_a_local_ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with cluster(3):
        assert fake.by_value == [worker]  # a cluster's machines get its code with the task
    assert fake.by_value == []
    started, stopped = fake.calls
    assert (started["address"], started["num_cpus"], stopped) == ("local", 3, "shutdown")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with cluster(3):
        pass
    assert not {"address", "num_cpus"} & fake.calls[2].keys()  # Ray reads RAY_ADDRESS
    monkeypatch.setitem(sys.modules, "ray", FakeRay(fails=True))
    message = r"Ray does not start on the cluster at RAY_ADDRESS=192.0.2.1:6379: Failed to connect$"
    with pytest.raises(WorkersError, match=message):
        cluster(None).__enter__()


def test_the_worker_needs_nothing_but_python(tmp_path):
    """Isolated, without site packages or the working folder: what a cluster's machine may have."""
    command = [sys.executable, "-I", "-S", worker.__file__]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
