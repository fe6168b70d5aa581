# amaranth: UnusedElaboratable=no
"""Cost model: a small network against its synthesis, the rules that it shares with the hardware, what it counts."""

from collections import Counter

import pytest
from amaranth.back import rtlil

from popstream.hw.accelerator import Accelerator
from popstream.hw.cost.network import Cost, latencies, network_cost, storage_of
from popstream.hw.folding.buffering import buffers
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Fold, folded
from popstream.hw.lib.carry import And, Xor
from popstream.hw.lib.memory import block_rams, distributed_luts, in_block
from popstream.hw.lib.popcount import PopCount
from popstream.hw.solver.shared import around, body
from popstream.hw.solver.solve import solve
from popstream.hw.synthesis.alone import Ecp5
from popstream.hw.synthesis.fit import TOLERANCE, compare, measure
from popstream.sim.golden.drawn_post import random_post
from tests.hw.accelerator_bench import random_folding
from tests.networks import random_network

SMALL = dict(height=8, width=8, channels=(8, 16), in_channels=1, act_bits=2)


@pytest.mark.parametrize("kind", ["plain", "post", "shared", "shared, with PReLU"])
def test_a_small_network_as_synthesised(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the WebAssembly yosys sees the working folder
    network = random_network(3, **SMALL, weight_bits=1, prelu="PReLU" in kind)
    if kind == "post":
        network = random_post(3, **SMALL, ties="even", table_rows=1, pad_code=1, own_rows=True)
    folding = solve(network, 3000)
    if "shared" in kind:
        folding = around(network, [Share(body(network), 8, 8, 2, 2, 4, levels=2)], 3000)
    total = measure(network, folding, tmp_path)
    estimate = sum(network_cost(network, folding).values(), Cost())
    off = compare(estimate, total)
    assert (off["ebr"], off["dsp"]) == (0, 0), (estimate, total)
    assert min(total.ebr, total.dsp) > 0
    assert abs(off["lut"]) < TOLERANCE, (estimate, total)
    assert abs(off["ff"]) < TOLERANCE, (estimate, total)
    monkeypatch.setattr(
        "popstream.hw.synthesis.fit.synthesise",
        lambda *arguments: pytest.fail("the same design is not synthesised again"),
    )
    assert measure(network, folding, tmp_path) == total


@pytest.mark.parametrize("seed", range(6))
def test_fifos_are_as_deep_as_the_accelerators(seed):
    kinds = ({}, {"shortcut": "A"}, {"shortcut": "B"}, {"shortcut": "avgpool"}, {"prelu": True}, {"weight_bits": 2})
    network = random_network(seed, height=6, width=8, channels=(4, 8), in_channels=1, **kinds[seed])
    folding = random_folding(network, seed)
    accelerator = Accelerator(network, folding)
    assert accelerator.depths
    assert buffers(network, folding, latencies(network, folding)) == accelerator.depths


@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("pair", [None, Xor, And])
@pytest.mark.parametrize(("n", "planes"), [(1, 1), (2, 1), (3, 2), (9, 1), (24, 2), (36, 3), (145, 2)])
def test_carry_cells_of_a_population_count(n, planes, pair, levels):
    text = rtlil.convert(PopCount(n, planes, pair, levels), platform=Ecp5(), emit_src=False)
    assert PopCount.size(n, planes, bool(pair), levels)[0] == 2 * Counter(text.split())["\\CCU2C"]


def test_a_memory_is_in_block_ram_where_that_saves_luts():
    assert (block_rams(512, 36), block_rams(512, 37), block_rams(513, 36), block_rams(1024, 18)) == (1, 2, 2, 1)
    assert (block_rams(16384, 1), block_rams(2048, 64), block_rams(100, 0)) == (1, 8, 0)
    assert (distributed_luts(16, 4), distributed_luts(16, 5), distributed_luts(17, 4)) == (6, 12, 16)
    assert not in_block(16, 1000)
    assert next(depth for depth in range(17, 200) if in_block(depth, 8)) == 81


def test_storage_of_the_weights():
    network = random_network(0, height=4, width=4, channels=(4, 8), in_channels=1, weight_bits=1, act_bits=2)
    node = next(node for node in folded(network) if node["weight_bits"] == 1)
    kinds = {storage_of(node, Fold(simd, 1, storage=storage)) for simd in (4, 36) for storage in ("logic", "block")}
    assert kinds == {"lanes", "logic", "block"}
