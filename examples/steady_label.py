# amaranth: UnusedElaboratable=no
"""The accelerator inside a component of one's own: a label is shown once the network gave it several times in a row.

python examples/steady_label.py digits-w1a2 steady_label.v
"""

import argparse
import os
from pathlib import Path

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from popstream.hw.accelerator import Accelerator
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network, find, load


class SteadyLabel(wiring.Component):
    """Images in, a label out that does not flicker.

    Parameters
    ----------
    network : a manifest's network.
    times : how often in a row a label must come before it is shown, at least 1.
    interval : most cycles an image.

    Members
    -------
    i : In, the accelerator's stream of pixels.
    label : Out, the label that is shown; 0 before the first.
    known : Out, 1 bit: a label has been shown.
    """

    def __init__(self, network: Network, times: int = 3, interval: int = 20_000):
        if times < 1:
            raise ValueError(f"A label must come at least 1 time, not {times}")
        self.times = times
        self.accelerator = Accelerator(network, solve(network, interval))
        super().__init__({"i": self.accelerator.signature.members["i"], "label": Out(unsigned(8)), "known": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        connect(m, flipped(self.i), accelerator.i)

        last = Signal(8)
        count = Signal(range(self.times + 1))  # how often `last` came in a row, at most `times`
        now = Signal.like(count)
        label = accelerator.o.payload.label
        m.d.comb += accelerator.o.ready.eq(1)
        with m.If((label != last) | (count == 0)):
            m.d.comb += now.eq(1)
        with m.Elif(count == self.times):
            m.d.comb += now.eq(count)
        with m.Else():
            m.d.comb += now.eq(count + 1)
        with m.If(accelerator.o.valid):
            m.d.sync += [last.eq(label), count.eq(now)]
            with m.If(now == self.times):
                m.d.sync += [self.label.eq(label), self.known.eq(1)]
        return m


def main() -> None:
    """Write the component's Verilog."""
    from amaranth.back import verilog

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", help="a network of the zoo, or the path of a manifest")
    parser.add_argument("out", type=Path, help="file to write")
    options = parser.parse_args()
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    design = SteadyLabel(load(find(options.net)))
    options.out.write_text(verilog.convert(design, name="steady_label", emit_src=False))


if __name__ == "__main__":
    main()
