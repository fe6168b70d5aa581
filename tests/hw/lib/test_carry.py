# amaranth: UnusedElaboratable=no
"""Carry chains: the ECP5's cells, by a model of them, against the plain sum."""

import random
from types import SimpleNamespace

import pytest
from amaranth.hdl import Cat, Const, Elaboratable, Fragment, Module, Signal, Value
from amaranth.lib.memory import Memory

from popstream.hw.lib import carry as chain
from popstream.hw.lib.carry import And, Xor
from popstream.hw.lib.popcount import PopCount
from popstream.hw.unit import weights
from popstream.hw.unit.matvec import MatVec
from tests.hw.lib.test_popcount import free_run
from tests.hw.unit.test_matvec import check, random_case

ECP5 = SimpleNamespace(device="LFE5U-85F")


def ccu2c(kind, **ports):
    """The cell as Lattice describes it (yosys: techlibs/ecp5/cells_sim.v), in place of an Instance."""
    assert kind == "CCU2C"
    m = Module()
    carry = ports.get("i_CIN", Const(1, 1))  # open: anything
    for half in "01":
        assert ports[f"p_INJECT1_{half}"] == "NO"
        init = Value.cast(ports[f"p_INIT{half}"])
        a, b, c, d = (ports[f"i_{pin}{half}"] for pin in "ABCD")
        table = Const(init.value, 16)
        p = table.bit_select(Value.cast(a) + 2 * Value.cast(b) + 4 * Value.cast(c) + 8 * Value.cast(d), 1)
        g = table.bit_select(Value.cast(a) + 2 * Value.cast(b), 1)
        if f"o_S{half}" in ports:
            m.d.comb += ports[f"o_S{half}"].eq(p ^ carry)
        carry = (p & carry) | (~p & g)
    if "o_COUT" in ports:
        m.d.comb += ports["o_COUT"].eq(carry)
    return m


@pytest.mark.parametrize("positions", [2, 5, 48])
@pytest.mark.parametrize(
    ("n", "planes", "pair"),
    [(5, 1, None), (24, 1, Xor), (13, 2, Xor), (9, 3, Xor), (24, 1, And), (13, 2, And), (9, 3, And)],
)
def test_population_counts_of_cells(n, planes, pair, positions, monkeypatch):
    monkeypatch.setattr(chain, "Instance", ccu2c)
    monkeypatch.setattr(chain, "CHAIN_POSITIONS", positions)
    count = PopCount(n, planes, pair)
    rng = random.Random(n)
    words = [rng.getrandbits(n) for _ in range(60)]
    codes = [rng.getrandbits(n * planes) for _ in words]
    if pair:
        offered = [word | code << n for word, code in zip(words, codes, strict=True)]
    else:
        offered, words = codes, [0] * len(words)
    join = int.__and__ if pair is And else int.__xor__
    expected = [
        sum(join(word, code >> m * n & (1 << n) - 1).bit_count() << m for m in range(planes))
        for word, code in zip(words, codes, strict=True)
    ]
    ports = Cat(count.i, count.j) if pair else count.i
    assert free_run(OnEcp5(count, ports), offered) == expected


def dp16kd(kind, **ports):
    """A block RAM of 512 words of 36 bits, read at port B, with a register behind its own."""
    assert kind == "DP16KD"
    assert ports["p_DATA_WIDTH_B"] == 36
    assert ports["p_REGMODE_A"] == ports["p_REGMODE_B"] == "OUTREG"
    halves = []
    for block in range(64):
        row = Value.cast(ports[f"p_INITVAL_{block:02X}"]).value
        halves += [row >> 20 * index & (1 << 18) - 1 for index in range(16)]
    m = Module()
    m.submodules.memory = memory = Memory(
        shape=36, depth=512, init=[low | high << 18 for low, high in zip(halves[::2], halves[1::2], strict=True)]
    )
    port = memory.read_port()
    address = Cat(ports[f"i_ADB{bit}"] for bit in range(5, 14))
    data = Signal(36)
    m.d.comb += [port.addr.eq(address), port.en.eq(ports["i_CEB"])]
    with m.If(ports["i_OCEB"]):
        m.d.sync += data.eq(port.data)
    for index in range(36):
        name = f"o_DO{'AB'[index // 18]}{index % 18}"
        if name in ports:
            m.d.comb += ports[name].eq(data[index])
    return m


@pytest.mark.parametrize("shape", [(6, 10, 2, 5, 3, 3), (4, 40, 4, 20, 2, 1), (520, 2, 1, 2, 1, 1)])
@pytest.mark.parametrize(
    ("weight_bits", "kind", "copy"), [(1, "odd", 1), (1, "odd", 3), (1, "signed", 1), (2, "signed", 3)]
)
def test_lanes_of_cells(weight_bits, kind, shape, copy, monkeypatch):
    channels, length, act_bits, simd, pe, lanes = shape
    monkeypatch.setattr(chain, "Instance", ccu2c)
    monkeypatch.setattr(weights, "Instance", dp16kd)
    matrix, codes = random_case(channels, length, weight_bits, act_bits, 8)
    block = MatVec(matrix, weight_bits, act_bits, simd, pe, "lanes", "block", min(copy, pe), act_bits, lanes, kind=kind)
    check(OnEcp5(block), codes, seed=5, stall_in=0.3, stall_out=0.3)


class OnEcp5(Elaboratable):
    """A block as it is elaborated for an ECP5, its cells modelled; `i` may be given as other bits of it."""

    def __init__(self, block, i=None):
        self.block = block
        if i is not None:
            self.i = i

    def __getattr__(self, name):
        return getattr(self.block, name)

    def elaborate(self, platform):
        return Fragment.get(self.block, ECP5)
