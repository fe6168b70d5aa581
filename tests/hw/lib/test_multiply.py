# amaranth: UnusedElaboratable=no
"""Multipliers between registers, plain and as an ECP5's cell by a model of it."""

import random
from types import SimpleNamespace

import pytest
from amaranth.hdl import Cat, Fragment, Module, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from popstream.hw.lib import multiply
from popstream.hw.lib.multiply import Multiplier

ECP5 = SimpleNamespace(device="LFE5U-85F")


def mult18x18d(kind, **ports):
    """The cell with registers at A, B and P, as Lattice's sysDSP guide (TN1267) describes it."""
    assert kind == "MULT18X18D"
    registered = {name[6:-4] for name, value in ports.items() if name.startswith("p_REG_") and value == "CLK0"}
    assert registered == {"INPUTA", "INPUTB", "OUTPUT"}
    m = Module()
    held, enable = [], Value.cast(ports["i_CE0"])
    for name in "AB":
        operand = Cat(Value.cast(ports[f"i_{name}{bit}"]) for bit in range(18))
        assert Value.cast(ports[f"i_SIGNED{name}"]).value == 1
        register = Signal(signed(18), name=f"held_{name}")
        with m.If(enable):
            m.d.sync += register.eq(operand)
        held.append(register)
    product = Signal(signed(36))
    with m.If(enable):
        m.d.sync += product.eq(held[0] * held[1])
    for bit in range(36):
        if f"o_P{bit}" in ports:
            m.d.comb += ports[f"o_P{bit}"].eq(product[bit])
    return m


@pytest.mark.parametrize("platform", [None, ECP5])
@pytest.mark.parametrize(("shapes", "blocks"), [((signed(9), unsigned(8)), 1), ((signed(2), unsigned(1)), 1),
    ((signed(18), signed(18)), 1), ((unsigned(17), signed(3)), 1), ((signed(19), signed(18)), 1),
    ((unsigned(18), signed(5)), 1), ((signed(20), unsigned(8)), 1), ((unsigned(22), signed(17)), 1),
    ((signed(23), signed(18)), 1), ((unsigned(24), signed(17)), 2), ((signed(24), unsigned(9)), 2),
    ((signed(35), signed(18)), 2), ((signed(36), signed(4)), 0),
    ((signed(4), signed(19)), 0)])  # fmt: skip
def test_products_some_cycles_later(shapes, blocks, platform, monkeypatch):
    asked = []
    monkeypatch.setattr(multiply, "Instance", lambda kind, **ports: asked.append(kind) or mult18x18d(kind, **ports))
    dut = Multiplier(*shapes)
    assert dut.latency == (2 if max(s.width + (not s.signed) for s in shapes) <= 18 else 4)
    rng = random.Random(1)
    limits = [(-(1 << s.width - 1), (1 << s.width - 1) - 1) if s.signed else (0, (1 << s.width) - 1) for s in shapes]
    pairs = [(low, high) for low in limits[0] for high in limits[1]]
    pairs += [tuple(rng.randint(*limit) for limit in limits) for _ in range(60)]
    got = []

    async def bench(ctx):
        for a, b in [*pairs, *[(0, 0)] * (dut.latency - 1)]:
            ctx.set(dut.en, 0)  # nothing moves
            ctx.set(dut.a, rng.getrandbits(2))
            for _ in range(rng.choice((0, 0, 2))):
                await ctx.tick()
            ctx.set(dut.en, 1)
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()
            got.append(ctx.get(dut.o))

    simulator = Simulator(Fragment.get(dut, platform))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert got[dut.latency - 1 :] == [a * b for a, b in pairs]
    assert len(asked) == (blocks if platform else 0)
