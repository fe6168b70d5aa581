# amaranth: UnusedElaboratable=no
"""Models of a simulation against what they stand for, cycle by cycle under random bits and resets, in Verilator."""

import os
import subprocess
from pathlib import Path

import pytest
from amaranth.back import verilog
from amaranth.hdl import Cat, Fragment, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.carry import And, Xor
from popstream.hw.lib.models import MODELS, SIMULATION, model_planes
from popstream.hw.lib.planes import bit_planes
from popstream.hw.lib.popcount import PopCount
from popstream.sim.verilator.model import Design, compiled

ROOT = Path("build/tests")
WORDS, CYCLES = 40, 4000  # of 32 bits, drawn anew every cycle
SLOTS = 128  # bits of a port that is an array in C++ for any number of pairs
COUNTS = [
    *((n, planes, pair, 1) for n in (1, 2, 3, 33, 64) for planes, pair in ((1, None), (2, Xor), (1, And))),
    *((n, planes, None, levels) for n, planes, levels in ((27, 4, 2), (9, 8, 3), (100, 3, 1))),
    *((144, 2, Xor, 1), (72, 3, And, 2)),
]
CODES = [(number, bits) for bits in (2, 4, 8) for number in (1, 5, 33, 150)]
WRONG = (24, 1, Xor, 1), (24, 1, Xor, 2)  # a tree, and the model of one that is sooner done

LOOP = """
#include <cstdio>
#include <cstdlib>
#include "Vpairs.h"
#include "verilated.h"
double sc_time_stamp() { return 0; }
// In turn so many cycles of random bits, with a reset now and then, and of a single 1 that walks; prints for each pair
// the cycles in which both are not the same, and those in which they are not 0.
int main(int, char** arguments) {
  const int cycles = atoi(arguments[1]), words = WORDS, pairs = PAIRS;
  static Vpairs top;
  static long differ[PAIRS], active[PAIRS];
  unsigned long state = 88172645463325252;
  const auto draw = [&] { state ^= state << 13; state ^= state >> 7; return state ^= state << 17; };
  for (int cycle = 0; cycle < cycles; ++cycle) {
    const bool walks = cycle / (32 * words) % 2;
    for (int word = 0; word < words; ++word) top.bits[word] = walks ? 0 : draw() >> 16;
    const int place = cycle % (32 * words);
    if (walks) top.bits[place / 32] = 1u << place % 32;
    top.rst = draw() % 64 == 0;
    top.clk = 0, top.eval();
    for (int pair = 0; pair < pairs; ++pair) {
      differ[pair] += top.differ[pair / 32] >> pair % 32 & 1;
      active[pair] += top.active[pair / 32] >> pair % 32 & 1;
    }
    top.clk = 1, top.eval();
  }
  for (int pair = 0; pair < pairs; ++pair) printf("%ld %ld\\n", differ[pair], active[pair]);
}
"""


class Pairs(wiring.Component):
    """Every case as it is beside its model, on the same bits; the last, WRONG, is two that differ."""

    def __init__(self):
        self.count = len(COUNTS) + len(CODES) + 1
        members = {"bits": In(32 * WORDS), "differ": Out(SLOTS), "active": Out(SLOTS)}
        super().__init__(members)

    def elaborate(self, platform):
        m, outputs = Module(), []
        for index, (tree, model) in enumerate([*zip(COUNTS, COUNTS, strict=True), WRONG]):
            pair = []
            for size, where, name in ((tree, None, "tree"), (model, SIMULATION, "model")):
                block = PopCount(*size)
                m.d.comb += block.i.eq(self.bits)
                if block.pair:
                    m.d.comb += block.j.eq(self.bits[len(block.i) :])
                m.submodules[f"{name}{index}"] = Fragment.get(block, where)
                pair.append(block.o)
            outputs.append(pair)
        wrong = outputs.pop()
        for number, bits in CODES:
            codes = self.bits[: number * bits]
            outputs.append([Cat(bit_planes(codes, bits)), Cat(model_planes(m, codes, bits))])
        for index, (one, other) in enumerate([*outputs, wrong]):
            m.d.comb += [self.differ[index].eq(one != other), self.active[index].eq(one != 0)]
        return m


@pytest.fixture(scope="module")
def found():
    """Of each pair, the cycles in which it differs, and in which it is not 0."""
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    pairs = Pairs()
    text = verilog.convert(pairs, name="pairs", strip_internal_attrs=True, emit_src=False) + MODELS.read_text()
    loop = LOOP.replace("WORDS", str(WORDS)).replace("PAIRS", str(pairs.count))
    design = Design("Vpairs", "pairs", {"top.v": text, "loop.cpp": loop})
    program = compiled(design, ROOT, optimize=0) / "Vpairs"
    done = subprocess.run([program, str(CYCLES)], capture_output=True, text=True, check=True)
    return [tuple(int(number) for number in line.split()) for line in done.stdout.splitlines()]


def test_counts_and_planes_are_equal_in_every_cycle(found):
    assert len(found) == len(COUNTS) + len(CODES) + 1
    for case, (differ, active) in zip([*COUNTS, *CODES], found, strict=False):
        assert differ == 0, case
        assert active > CYCLES // 50, case


def test_a_model_that_is_a_cycle_late_is_found(found):
    assert found[-1][0] > CYCLES // 10
