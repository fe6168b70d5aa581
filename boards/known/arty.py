"""Arty A7-100 (Digilent): Artix-7 with 63 thousand LUTs, 100 MHz, FT2232H for UART and JTAG; built by Vivado."""

from amaranth_boards.arty_a7 import ArtyA7_100Platform

from popstream.boards.board.board import Board

BOARDS = (
    Board(
        "arty-a7-100",
        ArtyA7_100Platform,
        "clk100",
        ("led", 0),
        60,
        ("-b", "arty_a7_100t"),
        note="make bitstream writes a Vivado project and a resource estimate; Vivado makes the bitstream",
    ),
)
