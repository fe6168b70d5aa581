"""iCEBreaker (1BitSquared): iCE40 UP5K, 12 MHz on the PLL's own pad, FT2232H for UART and flash."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from popstream.boards.board.board import Board

BOARDS = (
    Board("icebreaker", ICEBreakerPlatform, "clk12", ("led_g", 0), 24, ("-b", "ice40_generic"), flash=(), pll_pad=True),
)
