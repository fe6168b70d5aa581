"""The bench around top.v, as SystemVerilog text: module `bench`, which cocotb drives a whole image at a time.

Python is woken once for a burst of accepted beats and once for an emitted result; every cycle in between is compiled:

    run, rst                     `run` starts the clock, which is compiled too; rst is driven by cocotb
    burst, offered               a burst of input beats, the first in the lowest bits; flipping `offered` offers it
    taken                        flips when the last beat of the burst is accepted; then cocotb gives the next burst
    first_cycle                  the cycle in which the first beat of the current image was accepted
    emitted, result, emit_cycle  `emitted` flips at each result; its payload and its cycle
    i_stall, o_stall             probability, in units of 2^-16, of a pause before an input beat or a result
    i_hold, o_hold               2^n - 1: a pause lasts 1 to 2^n cycles
    seed                         of both generators, loaded during reset; not 0
    patience, hung               `hung` rises when no beat has moved on either side for `patience` cycles
    tap_images, drained          each tap writes the beats of so many images to its file; `drained` once all have

A tap's file holds each beat as 32-bit words, least significant first, each word little endian ($fwrite's %u).
A stall never withdraws i.valid once it is offered, so the bench obeys the stream rules that the design relies on.
"""

from dataclasses import dataclass, field

import numpy as np

BURST_BITS = 32_768  # one write from Python; Verilog allows 65,536
READ, WRITE = "/*verilator public_flat_rd*/", "/*verilator public_flat_rw*/"


@dataclass(frozen=True, eq=False)
class Tap:
    """A node's values as the hardware gives them: `lanes` of `width` bits a beat; `shape` (C, H, W) an image.

    The node's golden value is the hardware's minus correction[c] (int64 [C], or None for 0). A pixel's channels are in
    `beats` beats, by default as many as it takes. Those of `pixels` neighbours come together, of which `kept` count,
    and a row begins with `ahead` that are not the image's (hw.lib.tap).
    """

    node: str
    lanes: int
    width: int
    signed: bool
    shape: tuple[int, int, int]
    correction: np.ndarray | None = field(default=None, repr=False)
    beats: int = 0
    pixels: int = 1
    kept: int = 1
    ahead: int = 0

    @property
    def port(self) -> str:
        """The ports are tap_<port>_valid and tap_<port>_data."""
        return self.node.replace(".", "_")

    @property
    def order(self) -> tuple[int, int, int, int, int]:
        """An image's rows, groups of pixels, beats, pixels, lanes, in the order in which they come."""
        channels, height, width = self.shape
        beats = self.beats or -(-channels // self.lanes)
        return height, -(-(self.ahead + width) // self.kept), beats, self.pixels, self.lanes

    @property
    def count(self) -> int:
        """Beats of one image."""
        rows, groups, beats, _, _ = self.order
        return rows * groups * beats

    @property
    def bits(self) -> int:
        """Bits of a beat."""
        return self.pixels * self.lanes * self.width

    @property
    def words(self) -> int:
        """32-bit words of a beat in its file."""
        return -(-self.bits // 32)

    def image(self, values: np.ndarray) -> np.ndarray:
        """[N, C, H, W] of values [N * rows * groups * beats * pixels * lanes] as they came."""
        channels, height, width = self.shape
        _, groups, beats, _, lanes = self.order
        came = values.reshape(-1, *self.order)
        kept = came[:, :, :, :, : self.kept].copy()
        if self.kept < self.pixels:
            kept[:, :, 1::2] = came[:, :, 1::2, :, self.kept : 2 * self.kept]
        whole = kept.transpose(0, 3, 5, 1, 2, 4).reshape(-1, beats * lanes, height, groups * self.kept)
        return whole[:, :channels, :, self.ahead : self.ahead + width]


@dataclass(frozen=True, eq=False)
class Top:
    """The ports of an accelerator's module: images of `shape` (C, H, W), `bits` a code, and `classes` logits."""

    shape: tuple[int, int, int]
    bits: int
    classes: int
    taps: tuple[Tap, ...] = ()
    module: str = "top"

    def __post_init__(self) -> None:
        if min(*self.shape, self.bits, self.classes) < 1:
            raise ValueError(
                f"Shape, bits and classes must be at least 1, not {self.shape}, {self.bits}, {self.classes}"
            )
        if self.beat_bits > BURST_BITS:
            raise ValueError(f"A beat must have at most {BURST_BITS} bits, not {self.beat_bits}")
        for tap in self.taps:
            if tap.lanes < 1 or (not tap.beats and tap.shape[0] % tap.lanes):
                raise ValueError(f"Tap {tap.node!r}: lanes must divide {tap.shape[0]} channels, not {tap.lanes}")

    @property
    def beat_bits(self) -> int:
        """Bits of an input beat: one pixel."""
        return self.shape[0] * self.bits

    @property
    def burst(self) -> int:
        """Beats that Python hands over at once: the largest divisor of an image's pixels within BURST_BITS."""
        pixels = self.shape[1] * self.shape[2]
        return max(n for n in range(1, pixels + 1) if pixels % n == 0 and n * self.beat_bits <= BURST_BITS)

    @property
    def bursts(self) -> int:
        """Bursts of an image."""
        return self.shape[1] * self.shape[2] // self.burst

    @property
    def result_bits(self) -> int:
        """Label, 8 bits, below the logits, 32 bits each."""
        return 8 + 32 * self.classes

    @property
    def instance(self) -> str:
        """Verilog: the module as `dut`, on clk, rst, i_payload, i_valid, ..., and tap<i>_valid, tap<i>_data."""
        taps = "".join(
            f",\n    .tap_{tap.port}_valid(tap{i}_valid), .tap_{tap.port}_data(tap{i}_data)"
            for i, tap in enumerate(self.taps)
        )
        return INSTANCE.format(module=self.module, taps=taps)


def generate(top: Top) -> str:
    """The text of module `bench` for this top."""
    taps = top.taps
    monitors = "".join(_monitor(i, tap) for i, tap in enumerate(taps))
    return BENCH.format(
        read=READ,
        write=WRITE,
        burst_high=top.burst * top.beat_bits - 1,
        beat=top.beat_bits,
        last=top.burst - 1,
        last_burst=top.bursts - 1,
        result_high=top.result_bits - 1,
        instance=top.instance,
        monitors=monitors,
        drained=" && ".join(["1", *(f"tap{i}_left == 0" for i in range(len(taps)))]),
    )


def _monitor(index: int, tap: Tap) -> str:
    return MONITOR.format(i=index, node=tap.node, port=tap.port, high=tap.bits - 1, beats=tap.count, words=tap.words)


INSTANCE = """  {module} dut (
    .clk(clk), .rst(rst),
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready){taps}
  );"""

MONITOR = """
  // {node}: {beats} beats of {words} words an image
  wire tap{i}_valid;
  wire [{high}:0] tap{i}_data;
  reg [63:0] tap{i}_left = 0;
  integer tap{i}_file = 0;
  always @(posedge clk)
    if (rst) begin
      tap{i}_left <= 64'd{beats} * {{32'd0, tap_images}};
      if (tap{i}_file == 0 && tap_images != 0) tap{i}_file = $fopen("tap_{port}.bin", "wb");
    end else if (tap{i}_valid && tap{i}_left != 0) begin
      tap{i}_left <= tap{i}_left - 1;
      $fwrite(tap{i}_file, "%u", tap{i}_data);
    end
  final if (tap{i}_file != 0) $fclose(tap{i}_file);
"""

BENCH = """// Generated by sim/bench/top.py, which documents the signals.

module bench;
  reg clk = 0, run {write} = 0, rst {write} = 1;
  initial begin
    wait (run);
    forever #1 clk = !clk;
  end

  reg [{burst_high}:0] burst {write} = 0;
  reg offered {write} = 0;
  reg [15:0] i_stall {write} = 0, o_stall {write} = 0, i_hold {write} = 0, o_hold {write} = 0;
  reg [63:0] seed {write} = 1;
  reg [31:0] patience {write} = 0, tap_images {write} = 0;

  reg taken {read} = 0, emitted {read} = 0, hung {read} = 0, drained {read} = 0;
  reg [63:0] cycle {read} = 0, first_cycle {read} = 0, emit_cycle {read} = 0;
  reg [{result_high}:0] result {read} = 0;

  // xorshift64 (Marsaglia 2003), one step a cycle
  reg [63:0] random = 1;
  wire [63:0] random1 = random ^ (random << 13);
  wire [63:0] random2 = random1 ^ (random1 >> 7);
  always @(posedge clk) random <= rst ? seed : random2 ^ (random2 << 17);

  always @(posedge clk) cycle <= rst ? 0 : cycle + 1;

  // input: beats of the burst, each after a random pause
  integer index = 0, burst_index = 0;
  reg [16:0] i_wait = 0;
  wire i_ready;
  wire i_valid = offered != taken && i_wait == 0;
  wire [{beat}-1:0] i_payload = burst[index * {beat} +: {beat}];
  always @(posedge clk)
    if (rst) begin
      taken <= 0;
      index <= 0;
      burst_index <= 0;
      i_wait <= 0;
    end else begin
      if (i_wait != 0) i_wait <= i_wait - 1;
      else if (!(i_valid && !i_ready) && random[15:0] < i_stall) i_wait <= {{1'b0, random[31:16] & i_hold}} + 1;
      if (i_valid && i_ready) begin
        if (index == 0 && burst_index == 0) first_cycle <= cycle;
        if (index == {last}) begin
          index <= 0;
          taken <= !taken;
          burst_index <= burst_index == {last_burst} ? 0 : burst_index + 1;
        end else index <= index + 1;
      end
    end

  // output: after a result, the next one may have to wait
  reg [16:0] o_wait = 0;
  wire o_valid;
  wire o_ready = o_wait == 0;
  wire [{result_high}:0] o_payload;
  always @(posedge clk)
    if (rst) begin
      emitted <= 0;
      o_wait <= 0;
    end else if (o_valid) begin
      if (o_wait != 0) o_wait <= o_wait - 1;
      else begin
        emitted <= !emitted;
        result <= o_payload;
        emit_cycle <= cycle;
        if (random[47:32] < o_stall) o_wait <= {{1'b0, random[63:48] & o_hold}} + 1;
      end
    end

  reg [31:0] idle = 0;
  always @(posedge clk)
    if (rst || (i_valid && i_ready) || (o_valid && o_ready)) idle <= 0;
    else begin
      idle <= idle + 1;
      if (idle == patience) hung <= 1;
    end

{instance}
{monitors}
  always @(posedge clk) drained <= !rst && {drained};
endmodule
"""
