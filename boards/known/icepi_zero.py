"""Icepi Zero 1.3: ECP5 with 25 thousand LUTs, 50 MHz, FT231X for UART and JTAG."""

from amaranth_boards.icepi_zero import IcepiZero1_3Platform

from popstream.boards.board.board import Board

BOARDS = (Board("icepi-zero", IcepiZero1_3Platform, "clk50", ("led", 0), 60, ("-b", "icepi-zero")),)
