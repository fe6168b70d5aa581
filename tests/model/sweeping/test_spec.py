"""Specifications of sweeps: the runs that they mean; wrong ones are refused in one line."""

import hashlib
from pathlib import Path

import pytest

from popstream.cli import main
from popstream.model.manifest import ZOO, load
from popstream.model.sweeping.spec import SPECS, load_spec
from popstream.model.training.checkpoint import source
from popstream.model.training.recipe import RecipeError
from tests.model.sweeping.small import SPEC, write


def test_runs_of_a_specification(tmp_path):
    text = (
        SPEC.split("axes")[0]
        + 'grid = { "phase.train.weight_bits" = [1, 32], "network.activation" = ["relu", "mish"] }'
    )
    spec = load_spec(write(tmp_path, text + "\n"))
    assert [run.name for run in spec.runs if run.seed == 0] == [
        "float-seed0", "bits-w1-activationrelu-seed0", "bits-w1-activationmish-seed0",
        "bits-w32-activationrelu-seed0", "bits-w32-activationmish-seed0",
    ]  # fmt: skip
    last = spec.runs[-1]
    assert last.recipe["network"]["activation"] == "mish"
    assert list(last.needs) == ["float-seed1"]
    teacher = last.recipe["phase"][0]["teacher"]
    assert source(teacher, Path("/runs/bits")) == Path("/runs/float-seed1/final.pt")
    assert (spec.cpus, spec.gpus) == (1, 0)


def test_what_a_run_begins_from_is_known_by_its_content(tmp_path):
    kept = tmp_path / "kept.pt"
    options = f'"phase.*.start" = "zoo/digits-w1a2", "phase.*.teacher" = "{kept}"'
    path = write(tmp_path, SPEC.replace('recipe = "one.toml"', f'recipe = "one.toml"\nset = {{ {options} }}', 1))
    before = load_spec(path).runs[0]
    assert before.origin == {"zoo/digits-w1a2": load(ZOO / "digits-w1a2").hash}
    kept.write_bytes(b"weights")
    after = load_spec(path).runs[0]
    assert after.origin == before.origin | {str(kept): hashlib.sha256(b"weights").hexdigest()}
    assert after.digest != before.digest


@pytest.mark.parametrize(("old", "new", "message"), [
    ("seeds = [0, 1]", "seeds = []", "seeds must be a list of at least 1, each a whole number from 0 to .*, not "),
    ("seeds = [0, 1]", "seeds = [0, -1]", r"seeds\[1\] must be a whole number from 0 .*, not -1"),
    ("seeds = [0, 1]", f"seeds = [{2**64}]", r"seeds\[0\] must be a whole number .*, not 18446744073709551616"),
    ("seeds = [0, 1]", "seeds = [0]\ngpus = nan", "gpus must be a number from 0 to 64, not nan"),
    ('name = "float"', 'name = "../float"', "name of group 0 must be at most 64 letters, .*, not '../float'"),
    ('name = "float"', 'name = 3', "name of group 0 must be at most 64 letters, .*, not 3"),
    ("points = [[1, 2]]", "points = [1]", r"points\[0\] of group 1 must be a list, not 1"),
    ("points = [[1, 2]]", "pionts = [1]", "group 1 has an unknown option 'pionts'; it takes axes, grid, "),
    ("seeds = [0, 1]", "seeds = [1, 1]", "seeds must differ"),
    ("seeds = [0, 1]", "seeds = [0]\ncpus = 0", "cpus must be a whole number from 1 to 1024, not 0"),
    ("seeds = [0, 1]", "seeds = [0]\ngpus = 1.5", "gpus must be a share from 0 to 1, or a whole number, not 1.5"),
    ("seeds = [0, 1]", "seeds = [0]\nnodes = 2", "the sweep has an unknown option 'nodes'; it takes cpus, "),
    ('name = "float"', 'name = "floats"', "teacher '@float' must be an earlier group of one run a seed [(]floats[)]"),
    ("points = [[1, 2]]", "points = [[1]]", "a point of group 'bits' has a value an axis"),
    ("points = [[1, 2]]", 'points = [[1, 2]]\ngrid = { data = ["digits"] }', "a grid, or axes and points, not both"),
    ('axes = [', 'grid = { data = [] }\naxes = [', "grid of group 1 must be a table, each entry a list of at least 1"),
    ("points = [[1, 2]]", "points = [[1, 2], [1, 2]]", "two runs are named 'bits-w1-a2-seed0'"),
    ("points = [[1, 2]]", "points = [[1, 9]]", "Activations must be 1 to 8 bits, or 32 for float, not 9"),
    ("phase.*.act_bits", "phase.low.act_bits", "names no phase; there are train, and [*] for all"),
    ("phase.*.act_bits", "bits", "option 'bits' must be data, network.<key>"),
    ("title =", "titel =", "sweep has an unknown option 'titel'"),
    ('recipe = "one.toml"', 'recipe = "none"', "group 'float': no recipe .*none.toml"),
    ('recipe = "one.toml"', f'recipe = "{"x" * 5000}"', "group 'float': no recipe .*characters"),
    ("points = [[1, 2]]", f"points = {[[1, 2]] * 600}", "1,202 runs with group 'bits'; at most 1,000 are allowed"),
    ("seeds = [0, 1]", f"seeds = {list(range(2000))}", "2,000 runs with group 'float'; at most 1,000 are allowed"),
])  # fmt: skip
def test_wrong_specifications(tmp_path, old, new, message):
    with pytest.raises(RecipeError, match=message):
        load_spec(write(tmp_path, SPEC.replace(old, new, 1)))


def test_a_grid_that_would_never_end_is_refused(tmp_path):
    grid = ", ".join(f'"network.x{n}" = [1, 2, 3, 4]' for n in range(30))
    axes = SPEC.index("axes")
    with pytest.raises(RecipeError, match=r"[0-9,]{20,} runs with group 'bits'; at most 1,000 are allowed"):
        load_spec(write(tmp_path, f"{SPEC[:axes]}grid = {{ {grid} }}\n"))


def test_unknown_specification_and_wrong_options(capsys):
    assert main(["sweep", "no-such-sweep"]) == 2
    assert (
        "'no-such-sweep' is no sweep; known are better-epochs, cpu-long, gpu, seeds, seeds-cpu"
        in capsys.readouterr().err
    )
    assert main(["sweep", "seeds", "--jobs", "0"]) == 2
    assert "--jobs must be at least 1, not 0" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_specifications_are_valid(path):
    assert load_spec(path).runs
