"""A LiteX system with the accelerator in it: DMA from memory to its pixels and back, its registers on the bus.

    popstream verilog digits-w1a2 --name digits --bus axi --registers
    python examples/litex_soc.py build/digits-w1a2/verilog/digits build/litex

The system has no processor: a host reaches memory and registers by UARTBone (litex_server, RemoteClient). It writes an
image into `main_ram`, a word a pixel with channel c in byte c, then base, length and enable of both DMAs, and 1 to the
accelerator's `control`; the label and the logits appear where the second DMA puts them.
"""

import argparse
import json
from pathlib import Path

from litex.build.generic_platform import IOStandard, Pins, Subsignal
from litex.build.lattice.platform import LatticeECP5Platform
from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import stream, wishbone
from migen import ClockDomain, ClockSignal, Instance, ResetSignal, Signal

WORD = 32
DEVICE, MHZ = "LFE5U-85F-6BG381C", 25  # of an ULX3S, and its oscillator
IO = [
    ("clk", 0, Pins("G2"), IOStandard("LVCMOS33")),
    ("reset_n", 0, Pins("D6"), IOStandard("LVCMOS33")),  # the button PWR
    ("serial", 0, Subsignal("tx", Pins("L4")), Subsignal("rx", Pins("M1")), IOStandard("LVCMOS33")),
]


class Accelerator(LiteXModule):
    """The module that `popstream verilog --bus axi --registers` wrote into `folder`, with LiteX's streams and bus.

    sink: a pixel, 8 bits a channel, `last` with an image's last. source: the label, then the logits, `last` with the
    last. bus: eight words (id, hash, control, status, images, errors, interval, latency).
    """

    def __init__(self, platform, folder):
        described = json.loads((Path(folder) / "ports.json").read_text())
        if described["bus"] != "axi" or not described["registers"]:
            raise ValueError(f"{folder} holds another kind of module; write it with --bus axi --registers")
        self.name = described["top"]
        self.sink = stream.Endpoint([("data", 8 * described["input"]["channels"])])
        self.source = stream.Endpoint([("data", WORD)])
        self.bus = wishbone.Interface(data_width=WORD, address_width=WORD, addressing="word")
        self.frame_error = Signal()
        self.specials += Instance(
            self.name,
            i_aclk=ClockSignal("sys"),
            i_aresetn=~ResetSignal("sys"),
            i_s_axis_tdata=self.sink.data,
            i_s_axis_tvalid=self.sink.valid,
            o_s_axis_tready=self.sink.ready,
            i_s_axis_tlast=self.sink.last,
            o_m_axis_tdata=self.source.data,
            o_m_axis_tvalid=self.source.valid,
            i_m_axis_tready=self.source.ready,
            o_m_axis_tlast=self.source.last,
            o_frame_error=self.frame_error,
            i_wb_adr=self.bus.adr[: len(described["registers"]).bit_length() - 1],
            i_wb_dat_w=self.bus.dat_w,
            o_wb_dat_r=self.bus.dat_r,
            i_wb_sel=self.bus.sel,
            i_wb_cyc=self.bus.cyc,
            i_wb_stb=self.bus.stb,
            i_wb_we=self.bus.we,
            o_wb_ack=self.bus.ack,
        )
        platform.add_source(str(Path(folder).resolve() / f"{self.name}.v"))


class System(SoCMini):
    """Memory, two DMAs, the accelerator between them, and a host on the serial port."""

    def __init__(self, platform, folder):
        self.crg = _Clock(platform)
        SoCMini.__init__(self, platform, MHZ * 1_000_000, ident="popstream in LiteX", ident_version=False)
        self.add_uartbone()
        self.add_ram("main_ram", origin=0x4000_0000, size=0x1_0000)

        self.accelerator = accelerator = Accelerator(platform, folder)
        self.bus.add_slave("accelerator", accelerator.bus, SoCRegion(origin=0x3000_0000, size=32, cached=False))

        self.reader = reader = WishboneDMAReader(wishbone.Interface(WORD), with_csr=True)
        self.writer = writer = WishboneDMAWriter(wishbone.Interface(WORD), with_csr=True)
        self.bus.add_master("reader", reader.bus)
        self.bus.add_master("writer", writer.bus)
        self.comb += [
            accelerator.sink.data.eq(reader.source.data),
            accelerator.sink.valid.eq(reader.source.valid),
            accelerator.sink.last.eq(reader.source.last),
            reader.source.ready.eq(accelerator.sink.ready),
            writer.sink.data.eq(accelerator.source.data),
            writer.sink.valid.eq(accelerator.source.valid),
            writer.sink.last.eq(accelerator.source.last),
            accelerator.source.ready.eq(writer.sink.ready),
        ]


class _Clock(LiteXModule):
    """The board's clock as it is, and a button as reset."""

    def __init__(self, platform):
        self.cd_sys = ClockDomain("sys")
        self.comb += [self.cd_sys.clk.eq(platform.request("clk")), self.cd_sys.rst.eq(~platform.request("reset_n"))]


def main() -> None:
    """Write the system's Verilog, what the open tools need to build it, and its map of registers (csr.json)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the accelerator's Verilog")
    parser.add_argument("out", type=Path, help="folder to write to")
    options = parser.parse_args()
    system = System(LatticeECP5Platform(DEVICE, IO, toolchain="trellis"), options.folder)
    builder = Builder(
        system,
        output_dir=str(options.out),
        compile_software=False,
        compile_gateware=False,
        csr_json=str(options.out / "csr.json"),
    )
    builder.build(run=False, build_name="soc")


if __name__ == "__main__":
    main()
