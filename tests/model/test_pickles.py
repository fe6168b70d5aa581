"""Pickles are looked through, and none of what they say is done."""

import pickle
from collections import OrderedDict

import pytest

from popstream.model.pickles import PickleError, look_through


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_honest_one_passes(protocol):
    look_through(pickle.dumps({"a": [1, 2**70, "é", b"x", (None, 1.5)] * 300, "b": {1, 2}}, protocol))


def test_names_are_those_that_are_known():
    data = pickle.dumps(OrderedDict(a=1), 2)
    look_through(data, {"collections.OrderedDict"})
    with pytest.raises(PickleError, match=r"^it would call collections\.OrderedDict$"):
        look_through(data, {"torch.Size"})
    with pytest.raises(PickleError, match=r"a name in a form of its own \(STACK_GLOBAL\)"):
        look_through(pickle.dumps(OrderedDict(a=1), 4), {"collections.OrderedDict"})


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x80\x02]q", b"\xff", pickle.dumps("x" * 300)[:-20], b"I1x\n."])
def test_one_cut_short_is_refused(data):
    with pytest.raises(PickleError, match=r"^it is cut short, or no pickle"):
        look_through(data)


def test_a_place_that_nothing_was_put_before_is_refused():
    for text in (b"\x80\x02]q\xc8.", b"]p300\n."):
        with pytest.raises(PickleError, match=r"^it would remember at [0-9]+, after [12] steps$"):
            look_through(text)
