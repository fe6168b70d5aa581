"""Quantizers as qonnx executes them, and functions of whole numbers by their definition."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

pytest.importorskip("qonnx")
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.intquant import int_quant

from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.monotone import Affine, Clip, Function, Leaky, root
from popstream.model.qonnx.quantizer import MODES, Quantizer, bipolar, quantizer
from popstream.model.qonnx.requant import Stairs, fit_channel

EIGHTHS = np.arange(-90, 91) / 8


def values_of(found: Quantizer, xs: np.ndarray) -> np.ndarray:
    a, b = found.line()
    levels = np.zeros(len(xs), int)
    for level in range(1, found.count):
        place, reached = found.bound(0, level)
        levels += np.array([Fraction(x) > place or (reached and Fraction(x) == place) for x in xs])
    return np.array([float(a[0] * int(level) + b[0]) for level in levels])


@pytest.mark.parametrize("mode", MODES)
def test_quant_is_that_of_qonnx(mode):
    """All halves and quarters, with zero points, signed and not, narrow and not, of 1 to 4 bits."""
    for signed, narrow, bits, zero, scale in product((0, 1), (0, 1), (1, 2, 3, 4), (0.0, 1.0, -2.0), (1.0, 0.5, 0.75)):
        given = np.array(scale), np.array(zero), np.array(float(bits))
        if not signed and narrow and bits == 1:
            continue
        expected = int_quant(EIGHTHS, *given, signed, narrow, mode)
        found = quantizer(*given, bool(signed), bool(narrow), mode, "it")
        assert (values_of(found, EIGHTHS) == expected).all(), (signed, narrow, bits, zero, scale)


@pytest.mark.parametrize("scale", [1.0, 0.5, -0.5])
def test_bipolar_quant_is_that_of_qonnx(scale):
    expected = binary_quant(EIGHTHS, np.array(scale))
    assert (values_of(bipolar(np.array(scale), "it"), EIGHTHS) == expected).all()


@pytest.mark.parametrize(("scale", "zero", "bits", "narrow", "signed", "mode", "said"), [
    (np.inf, 0, 4, 0, 1, "ROUND", "scale must be finite and not 0, not inf; were weights or statistics all 0?"),
    (np.nan, 0, 4, 0, 1, "ROUND", "scale must be finite and not 0, not nan"),
    (0.0, 0, 4, 0, 1, "ROUND", "scale must be finite and not 0, not 0"),
    (-1.0, 0, 4, 0, 1, "ROUND", "scale must be above 0, not -1"),
    (1.0, 0, 4.66, 0, 1, "ROUND", "bit width must be a whole number from 1 to 8, not 4.66"),
    (1.0, 0, 16, 0, 1, "ROUND", "bit width must be a whole number from 1 to 8, not 16"),
    (1.0, np.inf, 4, 0, 1, "ROUND", "zero point must be finite, not inf"),
    (1.0, 0, 1, 1, 0, "ROUND", "1 unsigned narrow bits have no value but 0"),
    (1.0, 0, 4, 0, 1, "STOCHASTIC", "rounding mode must be one of ROUND, HALF_EVEN"),
])  # fmt: skip
def test_quantizers_that_no_integers_are_behind(scale, zero, bits, narrow, signed, mode, said):
    with pytest.raises(QonnxError) as caught:
        quantizer(np.array(scale), np.array(zero), np.array(bits), bool(signed), bool(narrow), mode, "Quant 'q'")
    assert str(caught.value).startswith(f"Quant 'q': {said}")


def test_where_a_function_reaches_a_value():
    """Found backwards, and by trying every whole number."""
    rng = np.random.default_rng(4)
    for _ in range(60):
        a = [Fraction(int(v), 7) for v in rng.integers(0, 9, 3)]
        b = [Fraction(int(v), 3) for v in rng.integers(-9, 9, 3)]
        function = Function(3, (Affine(tuple(a), tuple(b)),))
        for step in (Clip(Fraction(-1), None), Leaky(Fraction(1, 3)), Affine((Fraction(2),), (Fraction(1, 2),)),
                     Clip(None, Fraction(int(rng.integers(0, 9))))):  # fmt: skip
            function = function.then(step) if rng.random() < 0.6 else function
        for c, target, reached in product(
            range(3), (Fraction(-3, 2), Fraction(0), Fraction(1), Fraction(7, 2)), (True, False)
        ):
            meets = [x for x in range(-20, 21) if (y := function.value(c, x)) > target or (reached and y == target)]
            assert function.first(c, target, reached, -20, 20) == (meets[0] if meets else 21)


def test_roots():
    assert root(Fraction(9, 16)) == Fraction(3, 4)
    assert abs(root(Fraction(2)) ** 2 - 2) < Fraction(1, 2**250)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("falls", [False, True])
def test_multiply_add_and_shift_give_the_stairs(even, falls):
    """Of every sum, against the stairs that they were fitted to."""
    rng = np.random.default_rng(5)
    fitted = 0
    for _ in range(40):
        slope, offset = Fraction(int(rng.integers(1, 60)), 64), Fraction(int(rng.integers(-99, 99)), 16)
        low, high = -70, 90
        levels = np.arange(-7, 8)
        at = []
        for k in levels.tolist():
            real = (k - Fraction(1, 2) - offset) / slope
            x = -(-real.numerator // real.denominator)
            at.append(min(max(x + (1 if x == real and k % 2 else 0), low), high + 1))
        stairs = Stairs(-7, np.array(at), low, high, falls, slope, offset)
        found = fit_channel(stairs, 12, even, offset)
        if found is None:
            continue
        fitted += 1
        m, b = found
        sums = np.arange(low, high + 1)
        y = (sums * (-m if falls else m) + b + 2**11) >> 12
        if even:
            product_ = sums * (-m if falls else m) + b + 2**11
            y = y - ((product_ % 2**12 == 0) & (y % 2 == 1))
        expected = -8 + (sums[:, None] >= np.array(at)).sum(1)
        assert (np.clip(y, -8, 7) == expected).all()
    assert fitted > 10
