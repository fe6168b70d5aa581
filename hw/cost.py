"""Resources of a folding on an ECP5, estimated from measured blocks: for choosing between foldings, not for sign-off.

Measured on a LFE5U-85F: 3.8 LUT4 a one-bit lane with a weight ROM of 8 words in the lane's own LUT. An EBR is 18 kbit
(512 x 36 at its widest), a multiplier is 18 x 18. The rest is counted bit by bit from the blocks' structure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil

from hw.folding import Fold, channels_out, folded, geometry, products, stream_lanes
from hw.table import LOGIC_DEPTH
from model.manifest import Network, Node, accumulator_range, signed_width

__all__ = ["ECP5_PRICES", "ICE40_PRICES", "UNPAIRED", "Cost", "Prices", "layer_cost", "memory_choices", "network_cost"]

LUT_PER_LANE = 3.8
MERGED_DEPTH = 8  # words of a weight ROM that share a LUT4 with the lane's XNOR
EBR_BITS = 18 * 1024
EBR_WIDTH = 36
EBR_DEPTH = 512
SMALL_MEMORY = 64  # words up to which a memory is built of LUTs (16 x 4 bits in a slice pair)
DEVICE = {"lut": 83_640, "ff": 83_640, "ebr": 208, "dsp": 156}  # LFE5U-85F


# iCE40: a logic cell holds a LUT and the flip-flop that it feeds; of the flip-flops estimated so many need their own.
UNPAIRED = 0.93


@dataclass(frozen=True)
class Prices:
    """What a unit of each resource is worth, in LUT4.

    Block RAMs and multipliers are there anyway and cost little until they run out (hw.fill raises their price then).
    """

    lut: float = 1.0
    ff: float = 0.25
    ebr: float = 150.0
    dsp: float = 100.0

    def raised(self, resources: Iterable[str], factor: float) -> "Prices":
        """These prices, but `factor` times as much for each of `resources`."""
        return replace(self, **{name: factor * getattr(self, name) for name in resources})


ECP5_PRICES = Prices()
ICE40_PRICES = Prices(1.0, UNPAIRED, 60.0, 5.0)


@dataclass(frozen=True)
class Cost:
    """LUT4, flip-flops, block RAMs and 18 x 18 multipliers."""

    lut: int = 0
    ff: int = 0
    ebr: int = 0
    dsp: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.lut + other.lut, self.ff + other.ff, self.ebr + other.ebr, self.dsp + other.dsp)

    def at(self, prices: Prices) -> float:
        """One number to compare by, in LUT4."""
        return self.lut * prices.lut + self.ff * prices.ff + self.ebr * prices.ebr + self.dsp * prices.dsp


def memory_cost(width: int, depth: int) -> Cost:
    """A memory with one write and one read port."""
    if depth <= SMALL_MEMORY:
        return Cost(lut=ceil(depth / 16) * ceil(width / 4) * 6, ff=width)
    narrow = EBR_WIDTH
    while narrow > 1 and EBR_DEPTH * EBR_WIDTH // narrow < depth:
        narrow //= 2
    return Cost(ebr=ceil(width / narrow) * ceil(depth * narrow / (EBR_DEPTH * EBR_WIDTH)))


def rom_cost(width: int, depth: int, block: bool) -> Cost:
    """A weight ROM in LUTs (up to MERGED_DEPTH words they are the lanes' own) or in block RAM."""
    if block:
        return memory_cost(width, max(depth, SMALL_MEMORY + 1))
    return Cost(lut=width * ceil(depth / 16)) if depth > MERGED_DEPTH else Cost()


def memory_choices(node: Node, fold: Fold) -> list[str]:
    """Kinds of weight memory worth looking at for a fold."""
    return ["logic"] if words(node, fold) <= MERGED_DEPTH else ["logic", "block"]


def words(node: Node, fold: Fold) -> int:
    """Depth of the weight memory."""
    planes = node["weight_bits"] if fold.arithmetic == "lanes" else 1
    return channels_out(node) // fold.pe * (products(node) // fold.simd) * planes


def matvec_cost(node: Node, fold: Fold) -> Cost:
    """Lanes or multipliers, their weights, the selection of a chunk and plane, and accumulators."""
    low, high = accumulator_range(node)
    width = signed_width(int(low.min()), int(high.max()))
    depth = words(node, fold)
    chunks = products(node) // fold.simd
    block = fold.storage == "block"
    accumulators = Cost(lut=2 * width * fold.pe, ff=3 * width * fold.pe)
    if fold.arithmetic == "mac":
        product = node["weight_bits"] + node["act_bits"] + 1
        bits = fold.lanes * node["weight_bits"]
        select = Cost(lut=fold.simd * node["act_bits"] * (chunks - 1), ff=fold.simd * node["act_bits"])
        tree = Cost(lut=(fold.simd - 1) * fold.pe * (product + 2), ff=fold.lanes * product, dsp=fold.lanes)
        return accumulators + select + tree + rom_cost(bits, depth, block)
    choices = chunks * node["act_bits"] // fold.planes
    select = Cost(lut=fold.planes * fold.simd * (choices - 1), ff=fold.simd * fold.planes)
    tree = Cost(lut=ceil(LUT_PER_LANE * fold.lanes), ff=2 * fold.lanes)
    return accumulators + select + tree + rom_cost(fold.simd * fold.pe, depth, block)


def window_cost(network: Network, node: Node, fold: Fold, lanes: int) -> Cost:
    """Line memory, shift registers, the prefetch register and the FIFO ahead, fed by a stream of `lanes` codes."""
    lanes = fold.feed or lanes
    g, bits = geometry(network, node), node["act_bits"]
    beats = g.channels // lanes
    result = Cost(lut=60, ff=products(node) * bits * (2 if fold.prefetch else 1))
    if g.kernel > 1:
        result += memory_cost((g.kernel - 1) * lanes * bits, g.width * beats)
    if fold.buffer:
        result += memory_cost(lanes * bits, fold.buffer * beats)
    return result


def prelu_cost(node: Node, fold: Fold) -> Cost:
    """A PReLU on the stream, for each of `fold.beat` lanes; nothing where `node` is none."""
    if node.op != "prelu":
        return Cost()
    slope = int(abs(node.tensors["slope"].astype("int64")).max(initial=0)).bit_length() + 1
    return Cost(lut=4 * node.bits * fold.beat, ff=(5 * node.bits + slope) * fold.beat, dsp=ceil(slope / 18) * fold.beat)


def follower_cost(network: Network, node: Node, fold: Fold) -> Cost:
    """What the nodes up to the next layer cost for each of `fold.beat` lanes: requantization and thresholds."""
    if node.op == "linear":
        return Cost(lut=64 * fold.beat, ff=64 * fold.beat)
    result = Cost()
    follower = network.consumers(node.name)[0]
    if follower.op == "requant":
        multiplier = int(abs(follower.tensors["multiplier"].astype("int64")).max(initial=0)).bit_length() + 1
        blocks = ceil(node.bits / 18) * ceil(multiplier / 18)
        result += Cost(lut=(node.bits + multiplier + 3 * follower.bits) * fold.beat, dsp=blocks * fold.beat)
        result += Cost(ff=2 * (node.bits + multiplier) * fold.beat)
        result += prelu_cost(network.consumers(follower.name)[0], fold)
    bits, width = node["act_bits"], follower.bits if follower.op == "requant" else node.bits
    return result + Cost(lut=2 * bits * width * fold.beat, ff=bits * width * fold.beat)


def layer_cost(network: Network, node: Node, fold: Fold, lanes: int) -> Cost:
    """Window, matrix-vector unit and what follows it up to the next stream, of one conv or linear node."""
    return window_cost(network, node, fold, lanes) + matvec_cost(node, fold) + follower_cost(network, node, fold)


def network_cost(network: Network, folding: Mapping[str, Fold]) -> dict[str, Cost]:
    """Cost of every folded layer by name, skip FIFOs left out."""
    lanes = stream_lanes(network, folding)
    return {node.name: layer_cost(network, node, folding[node.name], lanes[node.inputs[0]]) for node in folded(network)}


def storage_of(node: Node, fold: Fold) -> str:
    """Where the weights lie: "lanes" (in the LUT of each lane's XNOR), "logic" or "block", as the hardware decides."""
    depth = words(node, fold)
    if depth <= MERGED_DEPTH and fold.storage != "block" and fold.arithmetic == "lanes":
        return "lanes"
    if fold.storage != "auto":
        return fold.storage
    return "logic" if depth <= LOGIC_DEPTH else "block"
