"""The house: four rooms, each with sub-rooms; who may import whom stands in rooms.toml, and the code keeps to it."""

import re
import tomllib
from functools import cache
from pathlib import Path

import grimp
import pytest

import popstream

PACKAGE = Path(popstream.__file__).parent
ROOMS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text())["rooms"]
ORDER = ("", "model", "hw", "sim", "boards", "soak", "mutation", "cli")  # a room may import what stands before it
LONGEST = 8  # modules of hw that import one another in a row


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("popstream", cache_dir=None)


def room_of(module: str) -> str:
    """The room of a module: hw/lib of popstream.hw.lib.fifo, hw of popstream.hw.verilog, "" of popstream itself."""
    parts = module.split(".")[1:]
    folder = parts if (PACKAGE.joinpath(*parts)).is_dir() else parts[:-1]
    return "/".join(folder[:2])


def imports() -> dict[str, dict[str, str]]:
    """For each room the rooms that it imports, each with one import that shows it."""
    found: dict[str, dict[str, str]] = {room_of(module): {} for module in graph().modules}
    for module in graph().modules:
        for other in graph().find_modules_directly_imported_by(module):
            if room_of(other) not in (room_of(module), ""):
                found[room_of(module)].setdefault(room_of(other), f"{module} imports {other}")
    return found


def test_every_room_has_its_line():
    assert set(ROOMS) == set(imports()) - {""}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_may(room):
    found = imports()[room]
    assert {other: why for other, why in found.items() if other not in ROOMS[room]} == {}
    assert sorted(set(ROOMS[room]) - set(found)) == [], "allowed, but not imported: take it out of rooms.toml"


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_goes_upwards(room):
    own = ORDER.index(room.split("/")[0])
    assert [other for other in ROOMS[room] if ORDER.index(other.split("/")[0]) > own] == []


def test_there_is_no_circle_among_rooms():
    left = {room: set(others) for room, others in ROOMS.items()}
    while left:
        free = [room for room, others in left.items() if not others & left.keys()]
        assert free, f"a circle among {', '.join(sorted(left))}"
        for room in free:
            del left[room]


def test_there_is_no_circle_among_files():
    left = {
        module: set(graph().find_modules_directly_imported_by(module)) - {"popstream"} for module in graph().modules
    }
    while left:
        free = [module for module, others in left.items() if not (others - {module}) & left.keys()]
        assert free, f"a circle among {', '.join(sorted(left))}"
        for module in free:
            del left[module]


def test_chains_of_imports_in_hw_are_short():
    @cache
    def chain(module: str) -> tuple[str, ...]:
        below = (m for m in graph().find_modules_directly_imported_by(module) if m.startswith("popstream.hw."))
        return (module, *max((chain(m) for m in below), key=len, default=()))

    longest = max((chain(m) for m in graph().modules if m.startswith("popstream.hw.")), key=len)
    assert len(longest) <= LONGEST, " > ".join(longest)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_a_room_says_what_it_is(room):
    first = (PACKAGE / room / "__init__.py").read_text().split("\n")[0]
    assert first.startswith('"""')
    assert len(first) > 20


def test_hardware_and_simulation_need_no_torch():
    seen = set()
    for door in ("popstream.hw.verilog", "popstream.sim.rtl.rtl", "popstream.sim.golden", "popstream.boards.host.host"):
        seen |= {door, *graph().find_upstream_modules(door)}
    assert [m for m in seen if m.startswith(("popstream.model.networks", "popstream.model.training"))] == []


def test_the_readme_lists_every_room():
    text = (PACKAGE.parent / "README.md").read_text()
    for room in ("model", "hw", "sim", "boards"):
        line = next(line for line in text.splitlines() if line.startswith(f"| `{room}/` |"))
        listed = re.findall(r"`(\w+)`", line.split("|")[3].split(";")[0])
        assert sorted(listed) == sorted(r.split("/")[1] for r in ROOMS if r.startswith(f"{room}/")), room
