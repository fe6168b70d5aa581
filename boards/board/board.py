"""What a board is: the device and its capacity, clock, UART, busy LED, default clock and how to program it.

A board's own file holds only that: pins come from amaranth-boards, or are named there where it has none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from amaranth.hdl import Module, Signal
from msgspec import Meta, Struct

from popstream.boards.board.devices import DEVICES, family_of
from popstream.hw.synthesis.yosys import Device
from popstream.model.checked import InputError, convert

__all__ = ["BAUD", "Board", "BoardError", "led_signal"]

BAUD = 1_000_000  # every USB bridge in use does it, and whole MHz divide by it without an error


class BoardError(InputError):
    """A board that does not exist or cannot do what was asked; the message is one line."""


class Told(Struct, frozen=True):
    """What a board's file says in plain values, and what they may be."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*\Z", description="lower case letters, digits and '-'")]
    clock: str
    led: tuple[str | int, ...] | None
    mhz: Annotated[float, Meta(gt=0, le=1000)]
    loader: tuple[str, ...]
    flash: tuple[str, ...] | None
    pack: tuple[str, ...]
    pll_pad: bool
    note: str
    baud: Annotated[int, Meta(ge=1200, le=12_000_000)]


@dataclass(frozen=True)
class Board:
    """One board.

    Parameters
    ----------
    name : what `BOARD=` takes.
    platform : makes the amaranth-boards platform.
    clock : resource of the oscillator.
    led : resource path of the LED that shows `busy`, e.g. ("rgb_led", 0, "g"); None if the board has none to spare.
    mhz : clock of the accelerator that a build aims at by default.
    loader : arguments of openFPGALoader that select board or cable.
    flash : further arguments that write to flash instead of SRAM; None if only one of them exists.
    pack : further arguments of the packer.
    pll_pad : iCE40: the oscillator's pin is the PLL's own pad.
    resources : resources to add to the platform, e.g. a UART on a connector.
    extra : adds what else the board needs to the top: extra(module, platform).
    note : what its user has to know before plugging in.
    """

    name: str
    platform: Callable[[], Any]
    clock: str
    led: tuple | None
    mhz: float
    loader: tuple[str, ...]
    flash: tuple[str, ...] | None = ("--write-flash",)
    pack: tuple[str, ...] = ()
    pll_pad: bool = False
    resources: tuple = ()
    extra: Callable[[Module, Any], None] | None = None
    note: str = ""
    baud: int = field(default=BAUD)

    def __post_init__(self) -> None:
        told = {key: getattr(self, key) for key in Told.__struct_fields__}
        convert(told, Told, f"Board {self.name!r}", BoardError, "it")
        if self.part not in DEVICES:
            raise BoardError(f"Board {self.name!r}: device {self.part} is not known; known are {', '.join(DEVICES)}")

    @property
    def part(self) -> str:
        """The device's name."""
        platform = self.platform()
        return getattr(platform, "device", None) or platform.family

    @property
    def device(self) -> Device:
        """The device's capacities and synthesis."""
        return DEVICES[self.part]

    @property
    def family(self) -> str:
        """One of devices.FAMILIES: "ecp5", "ice40", "gowin" or "xilinx"."""
        return family_of(self.part)

    @property
    def mhz_in(self) -> float:
        """Frequency of the oscillator."""
        return self.platform().lookup(self.clock).clock.frequency / 1e6

    def create(self) -> Any:
        """A fresh platform with the added resources."""
        platform = self.platform()
        platform.add_resources(self.resources)
        return platform


def led_signal(module: Module, platform: Any, path: tuple) -> Signal:
    """A signal that lights the LED at `path` when high."""
    from amaranth.lib import io

    port = platform.request(*path[:2], dir="-")
    for part in path[2:]:
        port = getattr(port, part)
    module.submodules.led_buffer = buffer = io.Buffer("o", port)
    signal = Signal(name="led")
    module.d.comb += buffer.o.eq(signal)
    return signal
