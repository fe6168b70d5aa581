"""Faults planted in a small checkout: which are noticed and by what, what survives, and going on after a kill."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray")
pytest.importorskip("pytest_cov")

from popstream.cli import main
from popstream.mutation import campaign as campaign_module
from popstream.mutation import tree as tree_module
from popstream.mutation.campaign import campaign
from popstream.mutation.draw import MutationError
from popstream.mutation.report import table
from popstream.mutation.tree import CHECKOUT, copied
from popstream.mutation.worker import Job
from tests.processes import working_in

CODE = """
def double(x):
    return x * 2


def unseen(x):
    return x - 1


def ignored(x):
    return x - 1


def down(n):
    while n > 0:
        n = n - 2
    return n
"""
TESTS = """
import time

from golden import double, down, ignored


def test_double():
    assert double(3) == 6


def test_down():
    assert down(9) == -1


def test_ignored():
    assert ignored(3) is not None


def test_memory():
    assert len(bytearray(2**20)) == 2**20
"""
CONFTEST = "import sys\nfrom pathlib import Path\n\nsys.path.insert(0, str(Path(__file__).parent / 'sim'))\n"
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x", "-c", "init.defaultBranch=main")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of a few files, whose worker loads nothing before its time and simulates nothing."""
    root = tmp_path / "checkout"
    files = {
        "sim/golden/__init__.py": CODE, "tests/sim/golden/test_it.py": TESTS, "tests/seconds.json": "{}",
        "conftest.py": CONFTEST, ".gitignore": "__pycache__/\n",
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "popstream").symlink_to(CHECKOUT / "popstream")
    subprocess.run([*GIT, "init", "-q"], cwd=root, check=True)
    monkeypatch.setattr(tree_module, "PRELOADED", ())
    monkeypatch.setattr(campaign_module, "SIMULATED", ["--version"])
    monkeypatch.setattr(campaign_module, "LEAST", 1.0)
    return root


def contents(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*.*") if p.is_file() and ".git" not in p.parts}


def test_a_fault_is_noticed_and_one_that_no_test_asks_for_survives(checkout, tmp_path):
    before, said = contents(checkout), []
    found = campaign(50, 0, tmp_path / "build", told=said.append, source=checkout)
    (row,) = found["files"]
    assert (row["file"], row["planted"]) == ("sim/golden/__init__.py", found["planted"])
    assert row["planted"] == sum(row[name] for name in ("test", "time", "memory", "sim", "survivors"))
    assert found["noticed"] == row["planted"] - row["survivors"] > 0
    survivors = {(row["before"], row["tried"].split(" that")[0]) for row in found["survivors"]}
    lines = CODE.splitlines()
    assert {"no test reaches it"} == {
        r["tried"] for r in found["survivors"] if r["line"] == lines.index("def unseen(x):") + 2
    }
    assert ("return x - 1", "1 of the 1 tests") in survivors  # reached, and its value not looked at
    assert not any("x * 2" in row["before"] for row in found["survivors"])
    assert row["time"] >= 1  # n = n + 2 has no end
    assert contents(checkout) == before
    assert not list((tmp_path / "build" / "mutate-code").glob(".tree.*"))
    assert len(said) == found["planted"] + 1  # the last one tells of the tests without a fault
    assert table(found).row_count == row["survivors"]
    again = []
    assert campaign(50, 0, tmp_path / "build", told=again.append, source=checkout)["survivors"] == found["survivors"]
    assert again == []  # all is kept
    (checkout / "tests/sim/golden/test_it.py").write_text(TESTS.replace("is not None", "== 2"))
    better = campaign(50, 0, tmp_path / "build", told=again.append, source=checkout)
    assert len(again) == 1 + row["survivors"]  # those alone are tried again
    assert {r["tried"] for r in better["survivors"]} == {"no test reaches it"}


def test_it_goes_on_after_a_kill_and_leaves_no_process(checkout, tmp_path):
    program = (
        "import sys; from pathlib import Path; from popstream.mutation import campaign as c, tree as t\n"
        "t.PRELOADED, c.SIMULATED, c.LEAST = (), ['--version'], 1.0\n"
        f"c.campaign(50, 0, Path({str(tmp_path / 'build')!r}), told=lambda s: print(s, flush=True), "
        f"source=Path({str(checkout)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]  # two faults
    assert "2 of " in lines[-1], lines
    process.kill()
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 60
    while workers(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.05)
    said = []
    found = campaign(50, 0, tmp_path / "build", told=said.append, source=checkout)
    assert found["planted"] - 3 <= len(said) <= found["planted"] - 2
    assert not list((tmp_path / "build" / "mutate-code").glob(".tree.*"))
    assert (checkout / "sim/golden/__init__.py").read_text() == CODE


def workers(folder: Path) -> list[int]:
    """Processes that work below a folder."""
    return working_in(lambda place: place.startswith(str(folder)))


def test_time_and_memory_have_an_end(checkout, tmp_path):
    with copied(checkout, tmp_path / "place") as tree:
        files, test = ["tests/sim/golden/test_it.py"], "tests/sim/golden/test_it.py::test_memory"
        good = tree.do(Job(files, [test]))
        assert (good.ended, list(good.seconds), good.said) == ("passed", [test], "")
        with tree.changed(files[0], TESTS.replace("2**20", "2**40")):
            assert tree.do(Job(files, [test])).ended == "memory"
        with tree.changed(files[0], TESTS.replace("assert len", "time.sleep(60); assert len")):
            assert tree.do(Job(files, [test], wall=0.5)).ended == "time"
        with tree.changed(files[0], "def test(:"):
            answer = tree.do(Job(files, [test]))
            assert (answer.ended, "SyntaxError" in answer.said) == ("failed", True)
        with tree.changed(files[0], "import os\nos.kill(os.getpid(), 11)\n"):
            assert tree.do(Job(files, [test])).said == "its process died with status -11"
        assert tree.do(Job(files, ["gone"])).ended == "passed"  # none is left: none notices
        assert tree.do(Job([], verb=["sim", "no-such-network"])).said == "popstream sim no-such-network: status 2"


def test_what_cannot_be_tried_is_said(checkout, tmp_path):
    with pytest.raises(MutationError, match=r"hw/a\.py: no file that faults are planted in; these are sim/golden/"):
        campaign(5, 0, tmp_path / "build", ["hw/a.py"], source=checkout)
    (checkout / "tests/sim/golden/test_it.py").write_text("def test_wrong():\n    assert 1 == 2\n")
    with pytest.raises(MutationError, match=r"test_it\.py fails without a fault: .*assert 1 == 2"):
        campaign(5, 0, tmp_path / "build", source=checkout)
    with pytest.raises(MutationError, match="is no checkout of popstream by git"):
        campaign(5, 0, tmp_path / "build", source=tmp_path)


@pytest.mark.parametrize("words", [[], ["digits-w1a2", "--code"], ["digits-w1a2", "--files", "a.py"]])
def test_wrong_words(capsys, words):
    assert main(["mutate", *words]) == 2
    assert capsys.readouterr().err.startswith(("error: mutate takes a network, or --code", "error: --files are for"))
