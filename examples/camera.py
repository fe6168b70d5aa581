# amaranth: UnusedElaboratable=no
"""A camera before the accelerator: frame and line valid, a pixel a clock, no way to make it wait.

Of each frame the middle is taken, averaged over squares, as large as the network's images (a 640x480 camera and scale 8
give a CIFAR-10 network 256x256 of its pixels). A frame is taken whole or not at all: only if all of the image before it
has gone on to the accelerator, so that a network slower than the camera skips frames.

    python examples/camera.py NET camera.v --width 640 --height 480
"""

import argparse
import os
from pathlib import Path

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from popstream.hw.accelerator import Accelerator
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network, find, load

BYTE = 8


class Camera(wiring.Component):
    """Pixels of a camera to the pixels of an image of `shape`.

    out[c, y, x] = the mean, rounded down, of camera pixels [c, top + s*y + 0..s-1, left + s*x + 0..s-1]

    Parameters
    ----------
    shape : (C, H, W) of the image.
    width, height : of the camera's frame.
    scale : s, a power of two; the largest whose W*s x H*s fits the frame if not given.

    Members
    -------
    frame : In, 1 bit: high from the first line to the last; low for at least a cycle between frames.
    line : In, 1 bit: `pixel` holds the next pixel of the line; low for at least a cycle between lines.
    pixel : In, C * 8 bits, channel 0 lowest.
    o : Out, stream of C bytes, by rows.
    skipped : Out, 16 bits: frames that were not taken.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, height: int, scale: int | None = None):
        self.channels, self.rows, self.columns = shape
        room = min(width // self.columns, height // self.rows)
        if room < 1:
            raise ValueError(f"A frame must be at least {self.columns}x{self.rows} pixels, not {width}x{height}")
        scale = 1 << room.bit_length() - 1 if scale is None else scale
        if scale < 1 or scale & scale - 1 or scale > room:
            raise ValueError(f"Scale must be a power of two, 1 to {room}, not {scale}")
        self.width, self.height, self.scale = width, height, scale
        self.left = (width - scale * self.columns) // 2
        self.top = (height - scale * self.rows) // 2
        self.beat = data.ArrayLayout(BYTE, self.channels)
        members = {"frame": In(1), "line": In(1), "pixel": In(self.beat), "skipped": Out(16)}
        super().__init__(members | {"o": Out(stream.Signature(self.beat))})

    def elaborate(self, platform):
        m = Module()
        bits = self.scale.bit_length() - 1
        m.submodules.fifo = fifo = StreamFifo(self.beat, self.rows * self.columns)
        connect(m, fifo.o, flipped(self.o))

        # Where the camera is, and whether this frame is taken.
        x, y = Signal(range(self.width + 1)), Signal(range(self.height + 1))
        in_frame, in_line, taken = Signal(), Signal(), Signal()
        inside = Signal(range(self.rows * self.columns + 1))  # pixels in the FIFO
        put, got = fifo.i.valid & fifo.i.ready, fifo.o.valid & fifo.o.ready
        m.d.sync += [in_frame.eq(self.frame), in_line.eq(self.line), inside.eq(inside + put - got)]
        with m.If(self.frame & ~in_frame):
            m.d.sync += taken.eq(inside == 0)
            with m.If(inside != 0):
                m.d.sync += self.skipped.eq(self.skipped + 1)
        with m.If(~self.frame):
            m.d.sync += [x.eq(0), y.eq(0)]
        with m.Elif(self.line):
            m.d.sync += x.eq(x + (x != self.width))
        with m.Elif(in_line):
            m.d.sync += [x.eq(0), y.eq(y + (y != self.height))]

        # The place in the image, and in the square.
        column, row = Signal(range(max(self.width, 2))), Signal(range(max(self.height, 2)))
        chosen, first, last = Signal(), Signal(), Signal()  # of a square's row; of its rows
        across, down = column[:bits], row[:bits]
        m.d.comb += [
            column.eq(x - self.left),
            row.eq(y - self.top),
            chosen.eq(
                self.line & taken & in_frame
                & (x >= self.left) & (x < self.left + self.scale * self.columns)
                & (y >= self.top) & (y < self.top + self.scale * self.rows)
            ),
            first.eq(down == 0),
            last.eq(down == self.scale - 1),
        ]  # fmt: skip

        # A square's row is summed in a register, its rows in a memory of a word a column of the image.
        total = data.ArrayLayout(unsigned(BYTE + 2 * bits), self.channels)
        m.submodules.sums = sums = Memory(shape=total, depth=self.columns, init=[])
        read, write = sums.read_port(domain="comb"), sums.write_port()
        line_sum = Signal(total)
        now = Signal(total)
        m.d.comb += [read.addr.eq(column >> bits), write.addr.eq(column >> bits)]
        for c in range(self.channels):
            before = Mux(across == 0, Mux(first, 0, read.data[c]), line_sum[c])
            m.d.comb += [now[c].eq(before + self.pixel[c]), fifo.i.payload[c].eq(now[c] >> 2 * bits)]
        with m.If(chosen):
            m.d.sync += line_sum.eq(now)
        ends = chosen & (across == self.scale - 1)
        m.d.comb += [write.data.eq(now), write.en.eq(ends & ~last), fifo.i.valid.eq(ends & last)]
        return m


class CameraClassifier(wiring.Component):
    """Camera and accelerator: frame, line and pixel in, results out. The network's input codes must have 8 bits."""

    def __init__(self, network: Network, width: int, height: int, scale: int | None = None, interval: int = 20_000):
        if network.entry_bits != BYTE:
            raise ValueError(f"A camera's pixels have 8 bits, the input of {network.name} has {network.entry_bits}")
        self.camera = Camera(network.input.shape, width, height, scale)
        self.accelerator = Accelerator(network, solve(network, interval))
        members = {name: self.camera.signature.members[name] for name in ("frame", "line", "pixel", "skipped")}
        super().__init__(members | {"o": self.accelerator.signature.members["o"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.camera = camera = self.camera
        m.submodules.accelerator = accelerator = self.accelerator
        m.d.comb += [
            camera.frame.eq(self.frame),
            camera.line.eq(self.line),
            camera.pixel.eq(self.pixel),
            self.skipped.eq(camera.skipped),
            Cat(accelerator.i.payload).eq(Cat(camera.o.payload)),
            accelerator.i.valid.eq(camera.o.valid),
            camera.o.ready.eq(accelerator.i.ready),
        ]
        connect(m, accelerator.o, flipped(self.o))
        return m


def main() -> None:
    """Write the Verilog of camera and accelerator."""
    from amaranth.back import verilog

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", help="a network of the zoo whose input has 8 bits, or the path of a manifest")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--width", type=int, default=640, help="of the camera's frame (%(default)s)")
    parser.add_argument("--height", type=int, default=480, help="of the camera's frame (%(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    design = CameraClassifier(load(find(options.net)), options.width, options.height)
    options.out.write_text(verilog.convert(design, name="camera", emit_src=False))


if __name__ == "__main__":
    main()
