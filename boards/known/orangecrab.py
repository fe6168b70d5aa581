"""OrangeCrab r0.2 (Greg Davill): ECP5 with 25 or 85 thousand LUTs, 48 MHz; UART on the header's pins 0 and 1."""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource

from popstream.boards.board.board import Board

SIZES = {"85f": OrangeCrabR0_2_85FPlatform, "25f": OrangeCrabR0_2_25FPlatform}
UART = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))
BOARDS = tuple(
    Board(
        f"orangecrab-{size}",
        platform,
        "clk",
        ("rgb_led", 0, "g"),
        60,
        ("-b", "orangeCrab"),
        flash=None,
        resources=(UART,),
        note="UART: 3.3 V adapter, its TX to header pin 0, its RX to pin 1; for flashing, hold the button at power-on",
    )
    for size, platform in SIZES.items()
)
