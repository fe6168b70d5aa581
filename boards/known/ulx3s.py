"""ULX3S (Radiona): ECP5 with 12 to 85 thousand LUTs, 25 MHz, FT231X for UART and JTAG."""

from amaranth_boards.ulx3s import ULX3S_12F_Platform, ULX3S_25F_Platform, ULX3S_45F_Platform, ULX3S_85F_Platform

from popstream.boards.board.board import Board

SIZES = {"85f": ULX3S_85F_Platform, "45f": ULX3S_45F_Platform, "25f": ULX3S_25F_Platform, "12f": ULX3S_12F_Platform}
# What ResNet-20 reaches on the two that hold it, with some room (README, Boards); the small ones as the 45F.
MHZ = {"85f": 100, "45f": 60, "25f": 60, "12f": 60}
BOARDS = tuple(
    Board(f"ulx3s-{size}", platform, "clk25", ("led", 0), MHZ[size], ("-b", "ulx3s"))
    for size, platform in SIZES.items()
)
