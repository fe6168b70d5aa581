"""Versa ECP5 (Lattice): ECP5UM with 45 thousand LUTs, 100 MHz LVDS, FT2232H for UART and JTAG."""

from amaranth_boards.versa_ecp5 import VersaECP5Platform

from popstream.boards.board.board import Board

BOARDS = (
    Board(
        "versa-ecp5",
        VersaECP5Platform,
        "clk100",
        ("led", 0),
        60,
        ("-c", "ft2232"),
        note="set jumper J50 so that the ispCLOCK device is left out of the JTAG chain",
    ),
)
