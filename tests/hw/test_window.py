# amaranth: UnusedElaboratable=no
"""Window against a direct NumPy slicing of the padded image."""

import numpy as np
import pytest

from hw.window import Window
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
]


def windows(images, kernel, stride, padding):
    """All windows in stream order, [windows, K, K, C]."""
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    view = view.transpose(0, 2, 3, 4, 5, 1)
    return view.reshape(-1, *view.shape[3:])


def beats(images, lanes, bits):
    flat = images.transpose(0, 2, 3, 1).reshape(-1, lanes)
    return [pack(beat, bits) for beat in flat.tolist()]


def build(case, prefetch, images=3):
    channels, height, width, bits, kernel, stride, padding, lanes = case
    codes = np.random.default_rng(channels * 7 + height).integers(0, 2**bits, (images, channels, height, width))
    wanted = [pack(window.ravel().tolist(), bits) for window in windows(codes, kernel, stride, padding)]
    return Window(*case, prefetch=prefetch), beats(codes, lanes, bits), wanted


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.0), (0.6, 0.1), (0.1, 0.8)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_equal_numpy(case, prefetch, stalls):
    dut, offered, wanted = build(case, prefetch)
    assert dut.out_height * dut.out_width * 3 == len(wanted)
    assert run_stream(dut, {"i": offered}, {"o": len(wanted)}, 5, *stalls)["o"] == wanted


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_load_cycles_are_the_interval_of_an_image(case, prefetch):
    dut, offered, wanted = build(case, prefetch, images=4)
    times = {}
    run_stream(dut, {"i": offered}, {"o": len(wanted)}, 0, 0.0, 0.0, times=times)
    per_image = len(wanted) // 4
    assert times["o"][3 * per_image] - times["o"][2 * per_image] == dut.load_cycles


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
    ],
)
def test_arguments_are_checked(override, message):
    arguments = {"channels": 4, "height": 8, "width": 8, "bits": 2, "kernel": 3, "stride": 1, "padding": 1, "lanes": 2}
    with pytest.raises(ValueError, match=message):
        Window(**{**arguments, **override})
