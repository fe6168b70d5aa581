"""Several accelerators in one verilated program, each with a bench of its own in Verilog, which reads and writes files.

    program = build(benches, texts, root)
    subprocess.run([program], cwd=folder)     # reads <module>/beats.mem, writes <module>/result.bin and tap_<node>.bin

One program for several saves most of what starting the compilers takes. A bench offers the beats and takes the results
with random pauses, and records every beat of every tap; once a beat is offered it stays, as streams ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from popstream.sim.bench.top import Top
from popstream.sim.verilator.model import STANDARD, WAIVERS, Design, compiled
from popstream.sim.verilator.tools import environment, run_tool, verilator_bin

__all__ = ["HANG", "Bench", "build"]

PROGRAM, MODULE = "Vsoak", "soak"
RUNTIME = ("verilated", "verilated_threads")
TAIL = 2048  # cycles after all has come in which no result may follow
HANG = 20_000  # of `patience`, at least


@dataclass(frozen=True)
class Bench:
    """Of the accelerator `top` (its module names files and a folder): images, seed (not 0) and pauses, which start with
    a probability of stall_in and stall_out in units of 2^-16 and last 1 to `hold` + 1 cycles, hold 2^n - 1. It hangs
    where for `patience` cycles no beat moves anywhere, pauses of the bench's own left out.
    """

    top: Top
    images: int
    seed: int
    stall_in: int
    stall_out: int
    hold: int
    patience: int = HANG


MONITOR = """
  wire tap{i}_valid;
  wire [{high}:0] tap{i}_data;
  integer tap{i}_left = {beats}, tap{i}_file;
  initial tap{i}_file = $fopen("{folder}/tap_{port}.bin", "wb");
  always @(posedge clk) if (!rst && tap{i}_valid) begin
    tap{i}_left <= tap{i}_left - 1;
    if (tap{i}_left > 0) $fwrite(tap{i}_file, "%u", tap{i}_data);
  end
  final $fclose(tap{i}_file);
"""

BENCH = """
module {folder}_bench(input clk, input rst, output reg done);
  reg [{beat_high}:0] beats [0:{last_beat}];
  initial $readmemh("{folder}/beats.mem", beats);
  integer file;
  initial file = $fopen("{folder}/result.bin", "wb");
  final $fclose(file);

  // xorshift64 (Marsaglia 2003), one step a cycle
  reg [63:0] random = 64'd{seed};
  wire [63:0] random1 = random ^ (random << 13);
  wire [63:0] random2 = random1 ^ (random1 >> 7);
  always @(posedge clk) random <= random2 ^ (random2 << 17);

  reg [31:0] stall_in = {stall_in}, stall_out = {stall_out};  // no constants, which are warned of at 0
  integer sent = 0, results = 0, i_wait = 0, o_wait = 0, tail = 0, idle = 0;
  reg i_valid = 0;
  reg [{beat_high}:0] i_payload = 0;
  wire i_ready, o_valid;
  wire [{result_high}:0] o_payload;
  wire o_ready = o_wait == 0;
  wire taps_moved = {taps_moved};
  initial done = 0;
  always @(posedge clk) if (!rst) begin
    // a beat is offered where none is, after a pause
    if (i_wait != 0) i_wait <= i_wait - 1;
    if (!i_valid || i_ready) begin
      i_valid <= 0;
      if (sent < {beats} && i_wait == 0) begin
        if ({{16'd0, random[15:0]}} < stall_in) i_wait <= {{16'd0, random[31:16]}} & {hold};
        else begin
          i_valid <= 1;
          i_payload <= beats[sent];
          sent <= sent + 1;
        end
      end
    end
    if (o_wait != 0) o_wait <= o_wait - 1;
    else if (o_valid) begin
      results <= results + 1;
      if (results <= {images}) $fwrite(file, "%u", o_payload);
      if ({{16'd0, random[47:32]}} < stall_out) o_wait <= ({{16'd0, random[63:48]}} & {hold}) + 1;
    end
    idle <= taps_moved || (i_valid && i_ready) || (o_valid && o_ready) || o_wait != 0 || i_wait != 0 ? 0 : idle + 1;
    // the last result may come before the last pixels, of which no window needs any
    if (results < {images} || sent < {beats} || i_valid || taps_moved) tail <= 0;
    else tail <= tail + 1;
    if (tail > {tail} || idle > {hang}) done <= 1;
  end

{instance}
{monitors}
endmodule
"""

MAIN = """#include "Vsoak.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

int main() {
  VerilatedContext context;
  Vsoak top{&context};
  top.rst = 1;
  for (long cycle = 0; !top.done; ++cycle) {
    if (cycle == 4) top.rst = 0;
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
  }
  top.final();
  return 0;
}
"""


def bench_text(bench: Bench) -> str:
    """The module around one accelerator."""
    top, taps = bench.top, bench.top.taps
    monitors = "".join(
        MONITOR.format(i=i, high=tap.bits - 1, beats=tap.count * bench.images, folder=top.module, port=tap.port)
        for i, tap in enumerate(taps)
    )
    beats = top.shape[1] * top.shape[2] * bench.images
    return BENCH.format(
        folder=top.module, instance=top.instance, beat_high=top.beat_bits - 1, last_beat=beats - 1, seed=bench.seed,
        result_high=top.result_bits - 1, beats=beats, images=bench.images, stall_in=bench.stall_in,
        stall_out=bench.stall_out, hold=bench.hold, tail=TAIL, hang=bench.patience, monitors=monitors,
        taps_moved=" || ".join(["1'b0", *(f"tap{i}_valid" for i in range(len(taps)))]),
    )  # fmt: skip


def build(benches: Sequence[Bench], texts: Sequence[str], root: Path) -> Path:
    """The program of accelerators whose Verilog is `texts`, in a folder of root/verilator that is the caller's.

    BuildError with what the tools said.
    """
    names = [bench.top.module for bench in benches]
    calls = "".join(f"  {name}_bench {name}_bench(clk, rst, all[{i}]);\n" for i, name in enumerate(names))
    head = f"module {MODULE}(input clk, input rst, output done);\n  wire [{len(names) - 1}:0] all;\n"
    text = "".join(map(bench_text, benches)) + f"\n{head}{calls}  assign done = &all;\nendmodule\n"
    sources = {f"{name}_top.v": text for name, text in zip(names, texts, strict=True)}  # waivers are for such names
    design = Design(PROGRAM, MODULE, {**sources, "bench.sv": text}, "Verilog of a batch", STANDARD)
    return compiled(design, root, 1, compile_at_once) / PROGRAM


def compile_at_once(folder: Path, design: Design, flags: list[str], variables: str) -> None:
    """Verilator, then all of its C++ as one unit, unoptimized: what the compiler reads before a file of our own takes
    longer than that file does."""
    tool = str(verilator_bin().resolve() / "verilator")
    place = ["--top-module", MODULE, "--prefix", PROGRAM, "--Mdir", ".", "--output-split", "0"]
    with environment(VERILATOR_ROOT=None):
        run_tool([tool, "--cc", *flags, *place, WAIVERS, *design.sources], folder)
    own = sorted(path.name for path in folder.glob(f"{PROGRAM}*.cpp"))
    (folder / "all.cc").write_text("".join(f'#include "{name}"\n' for name in own) + MAIN)
    include = verilator_bin().resolve().parent / "include"
    compiler = ["g++", STANDARD, "-I.", f"-I{include}", f"-I{include / 'vltstd'}"]
    compiler += ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0"]
    for name in RUNTIME:
        if not (folder / f"{name}.o").exists():  # kept by the batch before
            run_tool([*compiler, "-O1", "-c", str(include / f"{name}.cpp"), "-o", f"{name}.o"], folder)
    objects = [f"{name}.o" for name in RUNTIME]
    run_tool([*compiler, "-O0", "all.cc", *objects, "-o", PROGRAM, "-pthread", "-latomic"], folder)
