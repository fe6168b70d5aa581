"""ECPIX-5 (LambdaConcept): ECP5-5G with 45 or 85 thousand LUTs, 100 MHz, FT2232H for UART and JTAG."""

from amaranth_boards.ecpix5 import ECPIX545Platform, ECPIX585Platform

from popstream.boards.board.board import Board

SIZES = {"85f": ECPIX585Platform, "45f": ECPIX545Platform}
BOARDS = tuple(
    Board(f"ecpix5-{size}", platform, "clk100", ("rgb_led", 0, "g"), 60, ("-b", "ecpix5"))
    for size, platform in SIZES.items()
)
