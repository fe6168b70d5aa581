"""The Verilator build and the bench, on a hand-written module: what comes out, stalls, taps, hangs, errors."""

from pathlib import Path

import numpy as np
import pytest

from popstream.sim.bench.build import build
from popstream.sim.bench.cocotb_bench import encode
from popstream.sim.bench.run import SimulationError, hold_bits, read_tap, simulate, steady_interval
from popstream.sim.bench.top import Tap, Top, generate
from tests.sim import standin

ROOT = Path("build/tests")
IMAGES = 40


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    return standin.write(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="module")
def model(verilog):
    return build(verilog, generate(standin.top()), ROOT, 0)


@pytest.mark.parametrize(
    ("stall", "settle", "processes", "tapped"), [(0, None, 1, IMAGES), (0.3, None, 1, 7), (0.6, 0, 2, 25)]
)
def test_every_value(model, stall, settle, processes, tapped):
    codes = standin.random_codes(1, IMAGES)
    seen = []
    options = dict(tap_images=tapped, stall=stall, settle=settle, seed=3, processes=processes, progress=seen.append)
    result = simulate(model, standin.top(), codes, **options)
    logits, taps = standin.golden(codes)
    assert np.array_equal(result.logits, logits)
    assert np.array_equal(result.labels, logits.argmax(1))
    assert result.taps.keys() == taps.keys()
    for name, values in result.taps.items():
        assert np.array_equal(values, taps[name][:tapped]), name
    assert seen[-1] == IMAGES
    assert len(result.accepted) == len(result.emitted) == IMAGES
    assert np.all(result.emitted - result.accepted >= standin.PIXELS)
    busy = IMAGES * standin.PIXELS
    if stall:
        assert result.cycles > 1.5 * busy
    else:
        assert result.cycles < 1.5 * busy
    if settle != 0:  # measured before the pauses begin
        assert result.latency == standin.PIXELS
        assert result.interval == standin.PIXELS
    else:
        assert result.interval is None


def test_a_reset_that_leaves_a_register_as_it_is_is_found(tmp_path):
    codes = standin.random_codes(1, 2)
    model = build(standin.write(tmp_path, forgetful=True), generate(standin.top()), ROOT, 0)
    right, _ = standin.golden(codes)
    runs = [simulate(model, standin.top(), codes, seed=seed, expected=standin.PIXELS) for seed in range(4)]
    assert not all(np.array_equal(run.logits, right) for run in runs)


def test_stalls_depend_on_the_seed_alone(model):
    codes = standin.random_codes(2, 6)
    runs = [simulate(model, standin.top(), codes, stall=0.5, settle=0, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(runs[0].emitted, runs[1].emitted)
    assert not np.array_equal(runs[0].emitted, runs[2].emitted)


def test_hang_says_where(model):
    codes = standin.random_codes(3, 5)
    codes[2, :, 1, 1] = standin.STUCK
    # the burst of an image is counted when all of it is taken
    place = r"no beat moved for \d+ cycles at cycle \d+: 2 of 5 images accepted, 2 results"
    with pytest.raises(SimulationError, match=place):
        simulate(model, standin.top(), codes, expected=1)


def test_a_result_too_many(model):
    codes = standin.random_codes(4, 2)
    codes[1, :, -1, -1] = standin.TWICE
    with pytest.raises(SimulationError, match="a result too many at cycle"):
        simulate(model, standin.top(), codes)


@pytest.mark.parametrize("tapped", [0, 5])
def test_results_without_end_are_told(model, tapped):
    """Beats move, so that no patience ends it."""
    codes = standin.random_codes(4, 5)
    codes[2, :, 1, 1] = standin.ENDLESS
    with pytest.raises(SimulationError, match="a result too many at cycle"):
        simulate(model, standin.top(), codes, tap_images=tapped)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stall": 1}, "Stall must be a probability from 0 to below 1, not 1"),
        ({"tap_images": 3}, "Tapped images must be 0 to 2, not 3"),
        ({"processes": 0}, "Processes must be at least 1, not 0"),
    ],
)
def test_arguments(model, options, message):
    with pytest.raises(ValueError, match=message):
        simulate(model, standin.top(), standin.random_codes(0, 2), **options)


def test_images_of_another_shape(model):
    with pytest.raises(ValueError, match=r"Images must be uint8 \[N, 3, 4, 6\], not uint8 \(2, 3, 4, 5\)"):
        simulate(model, standin.top(), np.zeros((2, 3, 4, 5), np.uint8))


def test_waves(verilog, model, tmp_path):
    folder = build(verilog, generate(standin.top()), ROOT, 0, waves=True)
    assert folder != model
    path = tmp_path / "deep" / "waves.fst"
    result = simulate(folder, standin.top(), standin.random_codes(5, 2), waves=path)
    assert result.waves == path
    trace = pytest.importorskip("pywellen", reason="pywellen is not installed").Waveform(path=str(path))
    payload = next(signal for signal in trace.all_vars() if signal.full_name == "bench.dut.i__payload")
    assert payload.bitwidth == standin.top().beat_bits


def test_bursts():
    images = np.array([[[[1, 2], [3, 0]], [[0, 1], [2, 3]]]], np.uint8)  # 2 channels, 2x2 pixels
    assert encode(images, 2, 2) == [0b0110_0001, 0b1100_1011]
    assert encode(images, 2, 4) == [0b1100_1011_0110_0001]
    assert encode(images, 8, 1)[0] == 0x0001
    top = Top((3, 32, 32), 8, 10)
    assert (top.burst, top.bursts) == (1024, 1)
    wide = Top((3, 64, 64), 8, 10)
    assert wide.burst * wide.bursts == 64 * 64
    assert wide.burst * wide.beat_bits <= 32_768


def test_tap_file(tmp_path):
    tap = Tap("a.b", 3, 11, True, (6, 1, 2), np.arange(6))
    assert (tap.port, tap.count, tap.words) == ("a_b", 4, 2)
    values = np.random.default_rng(0).integers(-1024, 1024, (2, 6, 1, 2))
    beats = (values.transpose(0, 2, 3, 1).reshape(-1, 3) & 0x7FF) << np.array([0, 11, 22])
    path = tmp_path / "tap.bin"
    path.write_bytes(beats.sum(1).astype("<u8").tobytes() + b"cut short")
    assert np.array_equal(read_tap(path, tap), values - np.arange(6)[:, None, None])
    assert read_tap(tmp_path / "none", tap).shape == (0, 6, 1, 2)


def test_ports_are_checked():
    with pytest.raises(ValueError, match="Shape, bits and classes must be at least 1"):
        Top((3, 0, 4), 8, 10)
    with pytest.raises(ValueError, match="Tap 'x': lanes must divide 4 channels, not 3"):
        Top((3, 4, 4), 8, 10, (Tap("x", 3, 2, False, (4, 4, 4)),))
    with pytest.raises(ValueError, match="A beat must have at most 32768 bits, not 40000"):
        Top((5000, 4, 4), 8, 10)


def test_interval():
    assert steady_interval(np.array([5, 50, 90, 100, 110, 120]), 6) == 10
    assert steady_interval(np.array([5, 50, 90, 100, 110, 120]), 3) == 40
    assert steady_interval(np.array([5, 50]), 1) is None
    assert [hold_bits(cycles) for cycles in (0, 1, 2, 100, 10**9)] == [0, 0, 1, 127, 65_535]
