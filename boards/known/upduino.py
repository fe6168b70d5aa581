"""UPduino 3.x (tinyVision): iCE40 UP5K, 12 MHz by the OSC jumper, FT232H for UART and flash.

The UART shares its pins with the flash, whose select is held high so that it stays off them.
"""

from typing import Any

from amaranth.build import Attrs, PinsN, Resource
from amaranth.hdl import Module
from amaranth.lib import io
from amaranth_boards.resources import UARTResource
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from popstream.boards.board.board import Board

PINS = Attrs(IO_STANDARD="SB_LVCMOS")


def flash_off(m: Module, platform: Any) -> None:
    """Deselect the flash."""
    m.submodules.flash_buffer = buffer = io.Buffer("o", platform.request("flash_select", 0, dir="-"))
    m.d.comb += buffer.o.eq(0)


BOARDS = (
    Board(
        "upduino-v3",
        UpduinoV3Platform,
        "clk12",
        ("rgb_led", 0, "g"),
        24,
        ("-b", "ice40_generic"),
        flash=(),
        resources=(
            UARTResource(0, rx="15", tx="14", attrs=PINS),
            Resource("flash_select", 0, PinsN("16", dir="o"), PINS),
        ),
        extra=flash_off,
        note="close the OSC jumper (12 MHz to pin 20); the internal oscillator is too inexact for a UART",
    ),
)
