"""A beat on its way through a shared stage's last steps: what is read for it, and where it goes."""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data

from popstream.hw.folding.stage_plan import StagePlan

__all__ = ["entry_layout", "slot_layout"]


def slot_layout(plan: StagePlan, shifts: int, slopes: int) -> data.StructLayout:
    """Of a stage with so many shifts of requants, and of slopes.

    halves : it is of a layer of stride 2, which keeps every second pixel; odd : those of
        the second of two groups.
    read : stream word of the skip. own : which lies in the input's own banks. add : there is one. reduce, average : it
        is of stride 2, by means.
    direct : a sum goes on as it is. relu, shift : of the requant. bend, slope : there is a PReLU, and its shift.
    store : bits of stream banks that are written. at : their word.
    constant : word of the layer's factors, biases and thresholds.
    fresh : its codes begin a code word; part : their place there; whole : they end it. code : the word's address.
    banks : bits of code banks that get it. emit : it leaves the stage.
    """
    streams = max(1, (plan.stream_words - 1).bit_length())
    read = max(streams, (plan.own_words - 1).bit_length())
    codes = max(1, (plan.code_words - 1).bit_length())
    parts = plan.share.slice // plan.share.beat
    return data.StructLayout(
        {
            "halves": 1, "odd": 1, "read": read, "own": 1, "add": 1, "reduce": 1, "average": 1, "direct": 1,
            "relu": 1, "shift": unsigned(max(1, (shifts - 1).bit_length())), "bend": 1,
            "slope": unsigned(max(1, (slopes - 1).bit_length())), "store": plan.share.pixels,
            "at": streams, "constant": unsigned(max(1, (plan.constant_words - 1).bit_length())), "fresh": 1,
            "part": unsigned(max(1, (parts - 1).bit_length())), "whole": 1, "code": codes,
            "banks": plan.banks, "emit": 1,
        }
    )  # fmt: skip


def entry_layout(plan: StagePlan) -> data.StructLayout:
    """Of a beat that comes in: `store`, `at`, `fresh`, `part`, `whole`, `code` and `banks` as above.

    place : word of the input's thresholds.
    """
    streams = plan.own_words if plan.own else plan.stream_words
    parts, groups = plan.share.slice // plan.entry, plan.source_shape[0] // plan.entry
    return data.StructLayout(
        {
            "store": plan.share.pixels, "at": unsigned(max(1, (streams - 1).bit_length())),
            "place": unsigned(max(1, (groups - 1).bit_length())), "fresh": 1,
            "part": unsigned(max(1, (parts - 1).bit_length())), "whole": 1,
            "code": unsigned(max(1, (plan.code_words - 1).bit_length())), "banks": plan.banks,
        }
    )  # fmt: skip
