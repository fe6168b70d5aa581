# amaranth: UnusedElaboratable=no
"""Window against a direct NumPy slicing of the padded image."""

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.blocks.window import Window
from popstream.hw.folding.timing import window_timing
from popstream.hw.lib.stream import connect
from tests.hw.stream_bench import pack, run_stream

CASES = [
    # channels, height, width, bits, kernel, stride, padding, lanes
    (3, 5, 4, 2, 3, 1, 1, 3),
    (3, 4, 6, 1, 3, 1, 1, 1),
    (4, 5, 7, 2, 3, 2, 1, 2),
    (4, 6, 4, 3, 3, 2, 1, 4),
    (5, 4, 5, 8, 3, 1, 0, 1),
    (12, 3, 3, 1, 3, 1, 2, 4),
    (2, 6, 5, 2, 5, 1, 2, 1),
    (2, 7, 9, 1, 5, 2, 4, 2),
    (1, 8, 8, 1, 5, 2, 0, 1),
    (3, 4, 3, 4, 1, 1, 0, 3),
    (6, 5, 4, 2, 1, 2, 0, 2),
    (4, 1, 1, 2, 3, 1, 1, 4),
    (4, 1, 1, 2, 3, 2, 1, 2),
    (2, 3, 1, 2, 3, 1, 1, 2),
    (2, 3, 1, 2, 3, 1, 2, 2),
    (2, 1, 4, 2, 3, 1, 1, 1),
    (2, 1, 1, 1, 1, 1, 0, 1),
    (1, 1, 2, 2, 5, 1, 2, 1),
    (2, 5, 5, 2, 3, 3, 1, 1),
    (2, 4, 4, 2, 3, 2, 2, 1),
    (4, 6, 5, 1, 3, 2, 1, 1),
    (2, 9, 11, 1, 5, 4, 1, 2),
    (1, 7, 8, 2, 1, 3, 0, 1),
]


def windows(images, kernel, stride, padding, pad_code=0):
    """All windows in stream order, [windows, K, K, C]."""
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=pad_code)
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    view = view.transpose(0, 2, 3, 4, 5, 1)
    return view.reshape(-1, *view.shape[3:])


def beats(images, lanes, bits):
    flat = images.transpose(0, 2, 3, 1).reshape(-1, lanes)
    return [pack(beat, bits) for beat in flat.tolist()]


def build(case, prefetch, images=3, pad_code=0):
    channels, height, width, bits, kernel, stride, padding, lanes = case
    codes = np.random.default_rng(channels * 7 + height).integers(0, 2**bits, (images, channels, height, width))
    wanted = [pack(window.ravel().tolist(), bits) for window in windows(codes, kernel, stride, padding, pad_code)]
    return Window(*case, prefetch=prefetch, pad_code=pad_code), beats(codes, lanes, bits), wanted


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.0), (0.6, 0.1), (0.1, 0.8)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_equal_numpy(case, prefetch, stalls):
    dut, offered, wanted = build(case, prefetch)
    assert dut.out_height * dut.out_width * 3 == len(wanted)
    assert run_stream(dut, {"i": offered}, {"o": len(wanted)}, 5, *stalls)["o"] == wanted


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_code_outside_of_the_image(index, prefetch):
    case = CASES[index]
    dut, offered, wanted = build(case, prefetch, 2, pad_code=2 ** case[3] - 1 - index % 2 ** case[3])
    assert run_stream(dut, {"i": offered}, {"o": len(wanted)}, index, 0.3, 0.3)["o"] == wanted


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_load_cycles_are_the_interval_of_an_image(case, prefetch):
    dut, offered, wanted = build(case, prefetch, images=4)
    times = {}
    run_stream(dut, {"i": offered}, {"o": len(wanted)}, 0, 0.0, 0.0, times=times)
    per_image = len(wanted) // 4
    assert times["o"][3 * per_image] - times["o"][2 * per_image] == dut.load_cycles


class Used(wiring.Component):
    """A window whose every beat is in use for `cycles` cycles, and is taken in the last of them."""

    def __init__(self, window, cycles):
        self.window, self.cycles = window, cycles
        streams = window.signature.members
        super().__init__({"i": In(streams["i"].signature), "o": Out(streams["o"].signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.window = window = self.window
        connect(m, self.i, window.i)
        left, after = (Signal(range(self.cycles), init=self.cycles - 1) for _ in range(2))
        m.d.comb += after.eq(Mux(window.o.valid, Mux(left == 0, self.cycles - 1, left - 1), left))
        m.d.sync += left.eq(after)
        if window.prefetch:
            m.d.comb += window.soon.eq(after == 0)
        m.d.comb += [
            self.o.valid.eq(window.o.valid & (left == 0)),
            self.o.payload.eq(window.o.payload),
            window.o.ready.eq(left == 0),
        ]
        return m


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("cycles", [1, 2, 5, 16])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_timing_is_exact_where_input_never_fails(case, cycles, prefetch):
    dut, offered, wanted = build(case, prefetch, images=4)
    times = {}
    run_stream(Used(dut, cycles), {"i": offered}, {"o": len(wanted)}, 0, 0.0, 0.0, times=times)
    found = window_timing(dut.geometry, dut.groups, cycles, 0, prefetch, 0)
    assert times["o"][-1] - times["o"][-1 - len(wanted) // 4] == found.interval
    assert found.compute == len(wanted) // 4 * cycles


@pytest.mark.parametrize(("stride", "lanes"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_windows_of_a_row_follow_without_a_bubble(stride, lanes):
    """Loading `stride` columns takes no longer than a window's use: the use alone counts, on a row."""
    case = (2, 8, 8, 2, 3, stride, 1, lanes)
    dut, offered, wanted = build(case, True, images=2)
    times = {}
    cycles = stride * dut.groups
    run_stream(Used(dut, cycles), {"i": offered}, {"o": len(wanted)}, 0, 0.0, 0.0, times=times)
    for row in np.reshape(times["o"], (-1, dut.out_width)):
        assert set(np.diff(row)) == {cycles}


class Turned(wiring.Component):
    """Reads a turning window in chunks of its lowest codes, `rounds` times over, and then takes it."""

    def __init__(self, window, rounds):
        self.window = window
        self.beats = rounds * (window.kernel**2 * window.channels // window.turn)
        i = window.signature.members["i"].signature
        super().__init__({"i": In(i), "o": Out(stream.Signature(window.turn * window.bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.window = window = self.window
        connect(m, self.i, window.i)
        beat = Signal(range(self.beats + 1))
        home = beat == self.beats
        m.d.comb += [
            self.o.valid.eq(window.o.valid & ~home),
            self.o.payload.eq(Value.cast(window.o.payload)),
            window.turning.eq(self.o.valid & self.o.ready),
            window.o.ready.eq(home),
        ]
        with m.If(home):
            m.d.sync += beat.eq(0)
        with m.Elif(window.turning):
            m.d.sync += beat.eq(beat + 1)
        return m


@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.0), (0.0, 0.8)])
@pytest.mark.parametrize("case", CASES[:4] + CASES[8:12], ids=str)
def test_a_turning_window_comes_round(case, stalls):
    channels, _, _, bits, kernel, *_ = case
    length = kernel * kernel * channels
    for turn in (turn for turn in range(1, length + 1) if length % turn == 0):
        _, offered, wanted = build(case, False, images=2)
        rounds = 1 + turn % 2
        dut = Turned(Window(*case, prefetch=False, turn=turn), rounds)
        chunks = [
            word >> place & (1 << turn * bits) - 1
            for word in wanted
            for place in list(range(0, length * bits, turn * bits)) * rounds
        ]
        assert run_stream(dut, {"i": offered}, {"o": len(chunks)}, turn, *stalls)["o"] == chunks


def test_latency_from_the_beat_that_completes_a_window():
    for prefetch in (False, True):
        dut, offered, wanted = build((2, 3, 3, 2, 3, 1, 0, 2), prefetch, images=1)
        times = {}
        run_stream(dut, {"i": offered}, {"o": len(wanted)}, 0, 0.0, 0.0, times=times)
        assert times["o"][0] - times["i"][-1] == dut.latency


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, not 0"),
        ({"kernel": 2}, "odd and positive, not 2"),
        ({"padding": 3}, "0 .. 2 for kernel 3, not 3"),
        ({"lanes": 3}, "divide the 4 channels, 3 do not"),
        ({"height": 1, "padding": 0}, "1x8 image with padding 0 is smaller than kernel 3"),
        ({"turn": 5, "prefetch": False}, "must divide the 36 codes of a window without prefetch, not be 5 codes"),
        ({"pad_code": 4}, "pad code must have 2 bits, 4 has not"),
        ({"turn": 4}, "must divide the 36 codes of a window without prefetch, not be 4 codes"),
    ],
)
def test_arguments_are_checked(override, message):
    arguments = {"channels": 4, "height": 8, "width": 8, "bits": 2, "kernel": 3, "stride": 1, "padding": 1, "lanes": 2}
    with pytest.raises(ValueError, match=message):
        Window(**{**arguments, **override})
