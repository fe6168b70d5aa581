"""What every quantizer is: a number of bits, integer codes (`to_int`), and a `forward` that trains them.

Weights become integers w times a scale > 0: odd ones w = 2q - (2^W - 1), q in 0..2^W - 1, or of the kind "signed" any
of W bits, q their two's complement. Activations become unsigned codes a in 0..2^A - 1 of value amplitude * a /
(2^A - 1), compared with thresholds. Signs are the one-bit case, with code 0 for -1.
A conv on codes {0, 1} padded with 0 and one on values {-1, +1} padded with -1 differ by a factor and a constant a
channel, which the BatchNorm behind it removes: so sign activations train as codes, at half their paper's slope.
Rounding is floor(x + 1/2) everywhere (see the table of rules in sim/golden/__init__.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOAT_BITS = 32
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "mish": F.mish, "leaky_relu": F.leaky_relu, "gelu": F.gelu, "tanh": torch.tanh,
}  # fmt: skip
"""Each rises without end or to 1 from h(0) = 0 on x > 0, which is all that a clip to [0, 1] leaves of it."""


def check_bits(bits: int, what: str) -> int:
    """Return `bits` if it is 1..8 (quantized) or 32 (float); raise ValueError otherwise."""
    if bits not in (*range(1, 9), FLOAT_BITS):
        raise ValueError(f"{what} must be 1 to 8 bits, or 32 for float, not {bits}")
    return bits


def check_name(name: str, known: dict | tuple, what: str) -> str:
    """Return `name` if it is known; raise ValueError with the list of what is."""
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return name


def inverse(activation: str, y: Tensor) -> Tensor:
    """x > 0 with h(x) = y for 0 < y < 1, by bisection to double precision; h rises on x > 0."""
    low, high = torch.zeros_like(y), torch.full_like(y, 32.0)
    for _ in range(80):
        middle = (low + high) / 2
        above = ACTIVATIONS[activation](middle) >= y
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high


class RoundToLevels(torch.autograd.Function):
    """quantize_k (DoReFa-Net eqs. 5 and 6): x in [0, 1] to floor(n x + 1/2) / n, gradient passed through."""

    @staticmethod
    def forward(ctx, x: Tensor, levels: int) -> Tensor:
        return torch.floor(x * levels + 0.5).div_(levels)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class SignCode(torch.autograd.Function):
    """Code 1.0 where u >= 0, else 0.0; the gradient is multiplied by half of `slope`(u), an estimator's of the sign."""

    @staticmethod
    def forward(ctx, u: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return u.clone().ge_(0)  # in its own type: much faster than by way of bool

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return ctx.slope(u).mul_(grad).mul_(0.5), None


class SignWithScale(torch.autograd.Function):
    """Sign of w (+1 at 0) times `scale`; the gradient to w is multiplied by `slope`, that to the scale is exact."""

    @staticmethod
    def forward(ctx, w: Tensor, scale: Tensor, slope: Tensor | float) -> Tensor:
        ctx.save_for_backward(w, scale)
        ctx.slope = slope
        return torch.where(w >= 0, scale, -scale)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        w, scale = ctx.saved_tensors
        to_scale = torch.where(w >= 0, grad, -grad).sum_to_size(scale.shape) if ctx.needs_input_grad[1] else None
        return grad * ctx.slope, to_scale, None


def filter_axes(w: Tensor) -> tuple[int, ...]:
    """The axes of one output channel's weights."""
    return tuple(range(1, w.dim()))


def standardize(w: Tensor) -> Tensor:
    """Every filter brought to mean 0 and deviation 1 (IR-Net), which balances its signs."""
    centred = w - w.mean(filter_axes(w), keepdim=True)
    return centred / (centred.std(filter_axes(w), keepdim=True) + 1e-8)


class Widths:
    """The bits that a quantizer has, beside those of float."""

    least_bits = 1
    most_bits = 8

    @classmethod
    def lacks(cls, bits: int) -> str | None:
        """What it has, in words, where `bits` are none of it."""
        if bits == FLOAT_BITS or cls.least_bits <= bits <= cls.most_bits:
            return None
        several = f"{cls.least_bits} to " if cls.least_bits < cls.most_bits else ""
        return f"{several}{cls.most_bits} bit{'s' if cls.most_bits > 1 else ''}, or 32 for float"


class WeightQuantizer(Widths, nn.Module, ABC):
    """Weights [Co, ...] of `bits` W; 32 bits leave them alone. Raises ValueError for bits the method has not.

    kind: "odd" or "signed" (rules R2 and R24 of sim/golden/__init__.py).
    """

    kind = "odd"

    def __init__(self, bits: int):
        super().__init__()
        self.bits = check_bits(bits, "Weights")
        if has := self.lacks(bits):
            raise ValueError(f"{type(self).__name__} have {has}, not {bits}")

    @property
    def levels(self) -> int:
        return 2**self.bits - 1

    @torch.no_grad()
    def to_int(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Codes q (int64, shape of w, in [0, 2^W - 1]) and scale (float, > 0, broadcasts against w).

        The weight's value is w * scale, w the integer that q stands for. Raises ValueError for 32-bit weights.
        """
        if self.bits == FLOAT_BITS:
            raise ValueError("Float weights have no integer codes; choose 1 to 8 bits")
        codes, scale = self.codes(w.detach().float())
        return codes.long(), scale.reshape(scale.shape if scale.dim() == w.dim() else [1] * w.dim())

    def forward(self, w: Tensor) -> Tensor:
        return w if self.bits == FLOAT_BITS else self.quantize(w)

    @abstractmethod
    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scale of float weights."""

    @abstractmethod
    def quantize(self, w: Tensor) -> Tensor:
        """The values w * scale, with the method's gradient."""


class ActivationQuantizer(Widths, nn.Module, ABC):
    """Activations x [N, C, H, W] of `bits` A; 32 bits apply `activation` alone."""

    activations: tuple[str, ...] = ("relu",)

    def __init__(self, bits: int, channels: int, activation: str = "relu"):
        super().__init__()
        self.bits = check_bits(bits, "Activations")
        if has := self.lacks(bits):
            raise ValueError(f"{type(self).__name__} have {has}, not {bits}")
        self.activation = check_name(activation, ACTIVATIONS, "Activation")
        if bits != FLOAT_BITS and activation not in self.activations:
            raise ValueError(f"{type(self).__name__} go with {', '.join(self.activations)}, not {activation!r}")
        self.channels = channels
        self.calibrating = False

    @property
    def levels(self) -> int:
        return 2**self.bits - 1

    def calibrate(self, x: Tensor) -> None:
        """Set the clip from the values x of one batch, where the method has one."""

    def amplitude(self) -> float:
        """Value of the largest code."""
        return 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.bits == FLOAT_BITS:
            return ACTIVATIONS[self.activation](x)
        if self.calibrating:
            self.calibrate(x)
        return self.quantize(x)

    @torch.no_grad()
    def to_int(self, x: Tensor) -> Tensor:
        """Codes int64 [N, C, H, W], the number of thresholds that each x reaches (rule R4)."""
        return (x.detach().double().cpu()[:, :, None] >= self.thresholds()[:, :, None, None]).sum(2)

    def thresholds(self) -> Tensor:
        """Real t[c, j - 1], j in 1..2^A - 1, with code = #{j : x >= t[c, j]}: float64, [C, 2^A - 1], ascending."""
        if self.bits == FLOAT_BITS:
            raise ValueError("Float activations have no thresholds; choose 1 to 8 bits")
        with torch.no_grad():
            return self.real_thresholds().double().cpu()

    def midpoints(self) -> Tensor:
        """(j - 1/2) / (2^A - 1), j in 1..2^A - 1: float64."""
        return (torch.arange(1, self.levels + 1, dtype=torch.float64) - 0.5) / self.levels

    @abstractmethod
    def quantize(self, x: Tensor) -> Tensor:
        """The values amplitude * a / (2^A - 1), with the method's gradient."""

    @abstractmethod
    def real_thresholds(self) -> Tensor:
        """What `thresholds` gives, for quantized activations."""
