# amaranth: UnusedElaboratable=no
"""The top of a board: oscillator, PLL, reset, UART pins, busy LED, and the host link with the accelerator."""

from math import ceil
from typing import Any, Protocol

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from popstream.boards.board.board import Board, led_signal
from popstream.boards.clock.others import plan_pll
from popstream.boards.clock.pll import Pll

__all__ = ["Link", "Top", "clock_plan"]

START_US = 20  # iCE40: reset after configuration, whose block RAM reads zeros for its first 3 us


class Link(Protocol):
    """What the top connects: a UART's two wires and whether work is under way."""

    rx: Any
    tx: Any
    busy: Any


def clock_plan(board: Board, mhz: float) -> Pll | None:
    """The PLL that makes `mhz` of the board's oscillator; None where they are equal. PllError if it cannot be made."""
    if abs(mhz - board.mhz_in) < 1e-6:
        return None
    return plan_pll(board.part, board.family, board.mhz_in, mhz)


class Top(Elaboratable):
    """`board` around `link`, clocked by `pll` (None: by the oscillator).

    `link` runs in the domain `sync`. On an ECP5 its flip-flops are held by the device's global set/reset while the PLL
    is not locked: a reset net to tens of thousands of them would be the slowest net of all. On the other devices the
    domain has a reset, high from configuration, or from a loss of lock, for START_US.

    Attributes
    ----------
    mhz : the clock that results.
    """

    def __init__(self, board: Board, pll: Pll | None, link: Link):
        self.board = board
        self.pll = pll
        self.link = link
        self.mhz = board.mhz_in if pll is None else pll.mhz

    def _clock(self, m: Module, platform: Any) -> None:
        """Drive the clock and reset of `sync`; `reset` is high while they hold the link still."""
        clock, locked, pin = Signal(name="clock"), Signal(name="locked"), platform.request(self.board.clock, dir="-")
        if self.pll is not None and self.board.pll_pad:
            m.submodules.pll = self.pll.instance(pin.io, clock, locked, pad=True)
        else:
            m.submodules.clock_buffer = buffer = io.Buffer("i", pin)
            if self.pll is None:
                m.d.comb += [clock.eq(buffer.i), locked.eq(1)]
            else:
                m.submodules.pll = self.pll.instance(buffer.i, clock, locked)
        reset = Signal(init=1, name="reset")
        if self.board.family == "ecp5":
            m.domains.sync = ClockDomain(reset_less=True)
            m.submodules.global_reset = Instance("SGSR", i_CLK=clock, i_GSR=locked)  # active low
            m.d.comb += reset.eq(~locked)
        else:
            m.domains.sync = ClockDomain()
            m.d.comb += ResetSignal("sync").eq(reset)
            self._start(m, clock, locked, reset)
        m.d.comb += ClockSignal("sync").eq(clock)

    def _start(self, m: Module, clock: Signal, locked: Signal, reset: Signal) -> None:
        """`reset` for START_US from configuration or a loss of lock; its counter's own domain `start` has no reset."""
        m.domains.start = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("start").eq(clock)
        steady, count = Signal(name="steady"), Signal(range(ceil(START_US * self.mhz) + 1), name="start_count")
        m.submodules.lock_sync = FFSynchronizer(locked, steady, o_domain="start")
        m.d.start += reset.eq(count != ceil(START_US * self.mhz))
        with m.If(~steady):
            m.d.start += count.eq(0)
        with m.Elif(count != ceil(START_US * self.mhz)):
            m.d.start += count.eq(count + 1)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        self._clock(m, platform)
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx_buffer = rx = io.Buffer("i", uart.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", uart.tx)
        m.submodules.rx_sync = FFSynchronizer(rx.i, self.link.rx, init=1)
        m.submodules.link = self.link
        m.d.comb += tx.o.eq(self.link.tx)
        if self.board.led is not None:
            m.d.comb += led_signal(m, platform, self.board.led).eq(self.link.busy)
        if self.board.extra is not None:
            self.board.extra(m, platform)
        return m
