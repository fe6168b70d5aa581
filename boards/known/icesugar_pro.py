"""iCESugar-pro (Muse Lab): ECP5 with 25 thousand LUTs, 25 MHz, iCELink (CMSIS-DAP) for UART and JTAG."""

from amaranth_boards.icesugar_pro import ICESugarProPlatform

from popstream.boards.board.board import Board

BOARDS = (Board("icesugar-pro", ICESugarProPlatform, "clk25", ("rgb_led", 0, "g"), 60, ("-c", "cmsisdap")),)
