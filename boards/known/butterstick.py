"""ButterStick r1.0 (Greg Davill): ECP5-5G with 85 thousand LUTs, 30 MHz; UART on SYZYGY port A.

The ports have no voltage until the design sets it: a regulator each, whose output falls with a control voltage

    v_control = V_FB * (1 + R_INJECT / R_FEEDBACK) + R_INJECT * V_FB / R_SET - R_INJECT / R_FEEDBACK * v_out

that the FPGA makes by pulse width and a filter of 23 Hz.
"""

from typing import Any

from amaranth.build import Attrs
from amaranth.hdl import Module, Signal
from amaranth.lib import io
from amaranth_boards.butterstick import ButterStickPlatform
from amaranth_boards.resources import UARTResource

from popstream.boards.board.board import Board

V_FB, V_IO = 0.6, 3.3
R_INJECT, R_FEEDBACK, R_SET = 68_000, 53_600, 13_000
PORT_VOLTS = (3.3, 1.8, 1.8)  # port A carries the UART; B and C are not used
PWM_BITS = 10
SETTLE_BITS = 22  # 70 ms at 60 MHz, ten time constants of the filter, before the regulators are enabled


def duty(volts: float) -> int:
    """Cycles high out of 2^PWM_BITS that set a port to `volts`."""
    if not 1.2 <= volts <= V_IO:
        raise ValueError(f"A SYZYGY port's voltage must be 1.2 to {V_IO} V, not {volts}")
    control = V_FB * (1 + R_INJECT / R_FEEDBACK) + R_INJECT * V_FB / R_SET - R_INJECT / R_FEEDBACK * volts
    return round(control / V_IO * 2**PWM_BITS)


def port_supply(m: Module, platform: Any) -> None:
    """Set the ports' voltages, then switch them on."""
    port = platform.request("vccio_ctrl", 0, dir="-")
    m.submodules.supply_pwm = pwm = io.Buffer("o", port.pdm)
    m.submodules.supply_enable = enable = io.Buffer("o", port.en)
    phase, settle = Signal(PWM_BITS), Signal(SETTLE_BITS + 1)
    m.d.sync += [phase.eq(phase + 1), settle.eq(settle + ~settle[-1])]
    m.d.sync += [pwm.o[index].eq(phase < duty(volts)) for index, volts in enumerate(PORT_VOLTS)]
    m.d.comb += enable.o.eq(settle[-1])


BOARDS = (
    Board(
        "butterstick",
        ButterStickPlatform,
        "clk30",
        None,
        60,
        ("--dfu", "--vid", "0x1209", "--pid", "0x5af1", "--altsetting", "0"),
        flash=None,
        resources=(
            UARTResource(0, rx="S0", tx="S1", conn=("syzygy", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        ),
        extra=port_supply,
        note="UART: 3.3 V adapter on SYZYGY port A, its TX to S0 and its RX to S1; hold button 0 at power-on for DFU",
    ),
)
