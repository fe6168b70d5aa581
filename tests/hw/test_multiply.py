# amaranth: UnusedElaboratable=no
"""Multipliers between registers, plain and as an ECP5's cell by a model of it."""

import random
from types import SimpleNamespace

import pytest
from amaranth.hdl import Cat, Fragment, Module, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from hw import multiply
from hw.multiply import Multiplier

ECP5 = SimpleNamespace(device="LFE5U-85F")


def mult18x18d(kind, **ports):
    """The cell with registers at A, B and P, as Lattice's sysDSP guide (TN1267) describes it."""
    assert kind == "MULT18X18D"
    registered = {name[6:-4] for name, value in ports.items() if name.startswith("p_REG_") and value == "CLK0"}
    assert registered == {"INPUTA", "INPUTB", "OUTPUT"}
    m = Module()
    held = []
    for name in "AB":
        operand = Cat(Value.cast(ports[f"i_{name}{bit}"]) for bit in range(18))
        assert Value.cast(ports[f"i_SIGNED{name}"]).value == 1
        register = Signal(signed(18), name=f"held_{name}")
        m.d.sync += register.eq(operand)
        held.append(register)
    product = Signal(signed(36))
    m.d.sync += product.eq(held[0] * held[1])
    for bit in range(36):
        if f"o_P{bit}" in ports:
            m.d.comb += ports[f"o_P{bit}"].eq(product[bit])
    return m


@pytest.mark.parametrize("platform", [None, ECP5])
@pytest.mark.parametrize("shapes", [(signed(9), unsigned(8)), (signed(2), unsigned(1)), (signed(18), signed(18)),
                                    (unsigned(17), signed(3)), (signed(20), unsigned(8))])  # fmt: skip
def test_products_two_cycles_later(shapes, platform, monkeypatch):
    monkeypatch.setattr(multiply, "Instance", mult18x18d)
    dut = Multiplier(*shapes)
    rng = random.Random(1)
    limits = [(-(1 << s.width - 1), (1 << s.width - 1) - 1) if s.signed else (0, (1 << s.width) - 1) for s in shapes]
    pairs = [(low, high) for low in limits[0] for high in limits[1]]
    pairs += [tuple(rng.randint(*limit) for limit in limits) for _ in range(60)]
    got = []

    async def bench(ctx):
        for a, b in [*pairs, (0, 0), (0, 0)]:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()
            got.append(ctx.get(dut.o))

    simulator = Simulator(Fragment.get(dut, platform))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert got[1 : 1 + len(pairs)] == [a * b for a, b in pairs]


def test_an_operand_too_wide_for_the_block_is_left_to_synthesis(monkeypatch):
    asked = []
    monkeypatch.setattr(multiply, "Instance", lambda kind, **_: asked.append(kind) or Module())
    Fragment.get(Multiplier(unsigned(18), signed(4)), ECP5)
    assert asked == []
    Fragment.get(Multiplier(unsigned(17), signed(4)), ECP5)
    assert asked == ["MULT18X18D"]
