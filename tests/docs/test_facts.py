"""What the pages say is there: make targets, verbs, files, links and rooms."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import popstream.cli.front  # noqa: F401 adds the verbs
from docs.pages import ROOT, pages
from popstream.cli.app import app

CODE = re.compile(r"```\w*\n(.*?)```|(?<!`)`([^`\n]+)`(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
PATH = re.compile(r"(\w[\w.-]*/)+[\w.*-]*")
GAP = re.compile(r"\b[A-Z]{3,}\b")  # model/recipes/NAME.toml: the reader's own
MADE = ("build/", "data/", ".venv/", "zoo/")  # not committed, or told by a name that recipes use
LATER = {"model/underway"}  # made by a sweep that is kept
README_LINES, README_WIDTH = 130, 110


def code_of(path: Path) -> list[str]:
    """The pieces of code on a page, a line each."""
    found = (block or span for block, span in CODE.findall(path.read_text()))
    return [line for piece in found for line in piece.splitlines()]


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")[
        :-1
    ]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_target_is_in_the_makefile(path):
    named = {name for line in code_of(path) for name in re.findall(r"\bmake ([a-z][a-z-]*)", line)}
    assert named - TARGETS - {"perl"} == set()  # `apt install g++ make perl`


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_variable_is_one_that_the_makefile_takes(path):
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for line in code_of(path) if re.search(r"\bmake [a-z]", line)]
    named = {name for line in lines for name in re.findall(r"\b([A-Z]{1,10})=", line)}
    assert {name for name in named if not re.search(rf"[(, ]{name}[,)]", makefile)} == set()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_verb_is_one_of_the_command(path):
    named = {name for line in code_of(path) for name in re.findall(r"\bpopstream ([a-z][a-z-]*)", line)}
    assert named - set(app) == set()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_path_leads_to_a_file_or_folder(path):
    words = {word for line in code_of(path) for word in re.findall(r"[\w.*/-]+", line)}
    named = {word for word in words if PATH.fullmatch(word) and not word.startswith(MADE) and not GAP.search(word)}
    tops = {name.split("/")[0] for name in tracked()}
    missing = [name for name in named if name.split("/")[0] in tops and not list(ROOT.glob(name.rstrip("/")))]
    assert missing == []


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(path):
    near = [link.split("#")[0] for link in LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in near if link and not (path.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            links = [link.split("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
            waiting += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert set(pages()) - reached == set()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_every_piece_of_python_runs(path):
    for code in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def layout() -> dict[str, list[str]]:
    """{room: its sub-rooms} of the README's layout table."""
    found = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        if room := re.match(r"\| `([\w.]+)/` \|", line):
            found[room[1]] = re.findall(r"`([\w-]+)`", line.split("|")[3])
    return found


def test_the_room_of_every_file_follows_from_the_layout_table():
    rooms = layout()
    assert {"model", "hw", "sim", "boards", "popstream", "tests", "docs"} <= set(rooms)
    lost = []
    for name in tracked():
        parts = name.split("/")
        if len(parts) > 1 and not parts[0].startswith(".") and parts[0] in rooms:
            room = parts[1] if len(parts) > 2 else None
            if room and room not in rooms[parts[0]]:
                lost.append(name)
        elif len(parts) > 1 and not parts[0].startswith("."):
            lost.append(name)
    assert lost == []


def test_every_room_of_the_layout_table_is_there():
    named = {f"{room}/{sub}" for room, subs in layout().items() for sub in subs}
    assert {name for name in named if not (ROOT / name).is_dir()} <= LATER


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= README_LINES
    assert [line for line in lines if len(line) > README_WIDTH and not line.startswith(("|", "<sub>", "!["))] == []
