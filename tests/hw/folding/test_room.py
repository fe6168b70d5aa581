"""Room of a shared stage: its own numbers, bounds of several networks', and what has no place in them."""

import json

import pytest

from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.room import Bounds, Room, cover

GROW = Bounds(grow=True)


def needs(width, bits, kind):
    room = Room("a", GROW)
    assert room.most("columns", width) == width
    assert room.among("bits", [bits]) == [bits]
    room.same("kind", kind)
    room.any("bends", width > 4)
    return room.needs


def test_a_stage_of_its_own_has_its_own_numbers():
    room = Room("a")
    assert (room.most("columns", 3), room.among("bits", [2, 1, 2]), room.any("bends", False)) == (3, [1, 2], False)
    room.same("kind", "stream")
    assert room.needs == Bounds()


def test_bounds_cover_all_and_come_back_from_a_file():
    bounds = cover([needs(3, (1, 2), "stream"), needs(5, (2, 2), "stream")])
    bounds = Bounds.from_dict(json.loads(json.dumps(bounds.to_dict())))
    room = Room("b", bounds)
    assert (room.most("columns", 4), room.among("bits", [(1, 2)]), room.any("bends", False)) == (
        5,
        [(1, 2), (2, 2)],
        True,
    )
    assert room.all("bits", [(3, 3)]) == [(1, 2), (2, 2)]
    room.same("kind", "stream")


@pytest.mark.parametrize(("ask", "said"), [
    (lambda room: room.most("columns", 1500), "Stage of 'b': columns: 1,500, the bitstream has room for 5"),
    (lambda room: room.most("rows", 1), "Stage of 'b': rows: 1, the bitstream has room for 0"),
    (lambda room: room.among("bits", [(4, 4)]), "bits: (4, 4), the bitstream has (1, 2), (2, 2)"),
    (lambda room: room.among("margins", [1]), "margins: 1, the bitstream has none"),
    (lambda room: room.same("kind", "codes"), "kind: 'codes', the bitstream's is 'stream'"),
])  # fmt: skip
def test_what_has_no_place_is_named(ask, said):
    room = Room("b", cover([needs(3, (1, 2), "stream"), needs(5, (2, 2), "stream")]))
    with pytest.raises(FoldingError) as raised:
        ask(room)
    assert said in str(raised.value)


def test_what_must_be_the_same_is_named():
    with pytest.raises(FoldingError, match="kind is 'codes', and 'stream' in another; these must be the same"):
        cover([needs(3, (1, 2), "stream"), needs(5, (2, 2), "codes")])
