"""Tang Nano 9K and Tang Primer 20K on its dock (Sipeed): Gowin GW1NR-9 and GW2A-18, 27 MHz, UART by the USB bridge."""

from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform

from popstream.boards.board.board import Board

SPI = ("--mspi_as_gpio", "--sspi_as_gpio")  # pins of the configuration flash are the design's
BOARDS = (
    Board("tang-nano-9k", TangNano9kPlatform, "clk27", ("led", 0), 54, ("-b", "tangnano9k"), pack=SPI),
    Board(
        "tang-primer-20k",
        TangPrimer20kDockPlatform,
        "clk27",
        ("led", 0),
        54,
        ("-b", "tangprimer20k"),
        pack=(*SPI, "--ready_as_gpio", "--done_as_gpio"),
        note="with its dock",
    ),
)
