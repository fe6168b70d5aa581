"""Folding: how many lanes each conv and linear layer gets, and how many cycles an image then costs it.

A layer with N = K*K*C products a channel and Co channels is computed by simd x pe lanes. One output pixel takes

    cycles = (Co / pe) * (N / simd) * W * A / planes     arithmetic "lanes": so many plane pairs a cycle
    cycles = (Co / pe) * (N / simd)                      arithmetic "mac": whole products in multipliers

simd divides N, pe divides Co, planes divides A. The pe values of a channel group leave in beats of `out` channels, and
everything up to the next layer works on that many at once.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from popstream.hw.folding.fold import (
    MOST_LEVELS,
    Fold,
    FoldingError,
    Share,
    divisors,
    read_fold,
    read_folds,
    read_share,
)  # fmt: skip
from popstream.hw.folding.outline import STAGE, outline, plans
from popstream.hw.folding.stage_interval import stage_interval
from popstream.hw.folding.timing import Timing, WindowGeometry, window_timing
from popstream.hw.lib.table import STORAGES
from popstream.model.files import write_json
from popstream.model.manifest import Network, Node

__all__ = [
    "ARITHMETICS", "DEFAULT_INTERVAL", "Fold", "Folding", "FoldingError", "interval", "legal", "parallel",
    "products", "read_fold", "serial", "stream_lanes", "timings", "turns",
]  # fmt: skip

ARITHMETICS = ("lanes", "mac")
DEFAULT_INTERVAL = 20_000
FOLDED = ("conv", "linear")
MOST_TABLES = 4  # of pixels, side by side
SHARED = "shared"  # the key of shared stages in a file; no node is called so


@dataclass(frozen=True)
class Folding(Mapping[str, Fold]):
    """The fold of every conv and linear node, by name, but of those that share a stage; and the shared stages."""

    entries: dict[str, Fold]
    shared: tuple[Share, ...] = ()

    def __getitem__(self, name: str) -> Fold:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def check(self, network: Network) -> "Folding":
        """Return self if every node of `network` that is folded on its own, and no other, has a legal entry, and the
        shared stages are legal; else FoldingError.
        """
        network = outline(network, self)
        names = {node.name for node in folded(network)}
        for name in sorted(names ^ set(self.entries)):
            raise FoldingError(
                f"Folding has {'no entry' if name in names else 'an entry'} for node {name!r}, "
                f"expected exactly one for each conv and linear node of {network.name!r} that shares no stage"
            )
        for node in folded(network):
            legal(node, self.entries[node.name])
        return self

    def to_dict(self) -> dict[str, dict]:
        """As it stands in a file: by name, and `shared` where there are such stages."""
        alone: dict[str, Any] = {name: asdict(fold) for name, fold in self.entries.items()}
        return alone | ({SHARED: [share.to_dict() for share in self.shared]} if self.shared else {})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: object = None) -> "Folding":
        """What `to_dict` gave; FoldingError, from `source`, for an entry that is none. It may not fit a network."""
        alone = {name: read_fold(name, entry, source) for name, entry in content.items() if name != SHARED}
        shared = content.get(SHARED, [])
        if not isinstance(shared, list):
            raise FoldingError(f"{source}: {SHARED!r} must be a list of shared stages, not {type(shared).__name__}")
        return cls(alone, tuple(read_share(entry, source) for entry in shared))

    def save(self, path: Path) -> None:
        """Write as JSON, beside the target first and then renamed."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: Path, network: Network) -> "Folding":
        """Read what `save` wrote and check it against `network`; FoldingError names the file."""
        folding = cls.from_dict(read_folds(Path(path)), path)
        try:
            return folding.check(network)
        except FoldingError as error:
            raise FoldingError(f"{path}: {error}") from error


def folded(network: Network) -> list[Node]:
    """The nodes that have a fold: convs and the linear layer, in topological order."""
    return [node for node in network.nodes if node.op in FOLDED]


def products(node: Node) -> int:
    """Products summed into one output: K*K*C of a conv, C of a linear layer."""
    return math.prod(node.tensors["weight"].shape[1:])


def channels_out(node: Node) -> int:
    return node.tensors["weight"].shape[0]


def pixels(node: Node) -> int:
    """Pixels in the value that `node` makes."""
    return 1 if node.op == "linear" else node.shape[1] * node.shape[2]


def legal(node: Node, fold: Fold) -> None:
    """Raise FoldingError unless `fold` fits `node`."""
    n, co = products(node), channels_out(node)
    numbers = {
        "simd": fold.simd, "pe": fold.pe, "buffer": fold.buffer, "planes": fold.planes, "out": fold.beat,
        "levels": fold.levels,
    }  # fmt: skip
    for what, value in numbers.items():
        least = 0 if what == "buffer" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise FoldingError(f"Node {node.name!r}: {what} must be an integer of at least {least}, not {value!r}")
    if n % fold.simd:
        raise FoldingError(f"Node {node.name!r}: simd must divide its {n} products, {fold.simd} does not")
    if co % fold.pe:
        raise FoldingError(f"Node {node.name!r}: pe must divide its {co} output channels, {fold.pe} does not")
    if fold.arithmetic not in ARITHMETICS:
        raise FoldingError(
            f"Node {node.name!r}: arithmetic must be one of {', '.join(ARITHMETICS)}, not {fold.arithmetic!r}"
        )
    channels = 1 if node.op == "linear" else node.tensors["weight"].shape[1]
    if fold.feed is not None and (type(fold.feed) is not int or fold.feed < 1 or channels % fold.feed):
        what = "must be left out" if node.op == "linear" else f"must divide its {channels} input channels"
        raise FoldingError(f"Node {node.name!r}: feed {what}, {fold.feed!r} does not")
    planes = node["act_bits"] if fold.arithmetic == "lanes" else 1
    if planes % fold.planes:
        raise FoldingError(
            f"Node {node.name!r}: planes must divide {planes} ({fold.arithmetic}, {node['act_bits']}-bit codes), "
            f"{fold.planes} does not"
        )
    group_cycles = cycles(node, fold) // (co // fold.pe)
    if fold.pe % fold.beat or fold.pe // fold.beat > group_cycles:
        raise FoldingError(
            f"Node {node.name!r}: out must divide pe ({fold.pe}) into at most as many beats as a channel group takes "
            f"cycles ({group_cycles}), {fold.beat} does not"
        )
    if fold.levels > MOST_LEVELS:
        raise FoldingError(f"Node {node.name!r}: levels must be 1 to {MOST_LEVELS}, not {fold.levels}")
    if fold.storage not in STORAGES:
        raise FoldingError(f"Node {node.name!r}: storage must be one of {', '.join(STORAGES)}, not {fold.storage!r}")
    if not isinstance(fold.prefetch, bool):
        raise FoldingError(f"Node {node.name!r}: prefetch must be true or false, not {fold.prefetch!r}")


def cycles(node: Node, fold: Fold) -> int:
    """Cycles that one output pixel takes in the matrix-vector unit."""
    planes = node["weight_bits"] * node["act_bits"] // fold.planes if fold.arithmetic == "lanes" else 1
    return (channels_out(node) // fold.pe) * (products(node) // fold.simd) * planes


def turns(node: Node, fold: Fold) -> bool:
    """Whether the window turns by chunks, and is in use for a cycle more: without prefetch, unless a chunk is all."""
    return not fold.prefetch and products(node) > fold.simd


def stream_lanes(network: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """Lanes (channels a beat) of the stream that each node makes; nodes whose fold is not yet known are left out."""
    lanes: dict[str, int] = {}
    ends = plans(network, folding)
    for node in outline(network, folding).nodes:
        if node.op == "input":
            lanes[node.name] = entry_lanes(node)
        elif node.op == STAGE:
            lanes[node.name] = ends[node.name].share.beat
        elif node.op in FOLDED:
            if node.name in folding:
                lanes[node.name] = folding[node.name].beat
        elif node.inputs[0] in lanes:
            source = lanes[node.inputs[0]]
            lanes[node.name] = shortcut_lanes(node, source) if node.op == "shortcut" else source
    return lanes


def entry_lanes(node: Node) -> int:
    """Lanes in which the codes of an input node come: all channels, of its table's a few, which is a memory a lane."""
    channels = node.shape[0]
    return max(d for d in divisors(channels) if d <= MOST_TABLES) if "table" in node.tensors else channels


def shortcut_lanes(node: Node, source: int) -> int:
    """Lanes inside a shortcut fed with `source` lanes: the most that keep pad channels and others in separate beats."""
    return math.gcd(source, node["out_channels"], node["pad_front"])


def geometry(network: Network, node: Node) -> WindowGeometry:
    """What a folded node's window has to walk over; a linear layer's is one pixel."""
    channels, height, width = network.node(node.inputs[0]).shape
    kernel, stride, padding = (1, 1, 0) if node.op == "linear" else (node["kernel"], node["stride"], node["padding"])
    return WindowGeometry(channels, height, width, kernel, stride, padding)


def pixel_cycles(network: Network, folding: Mapping[str, Fold], name: str, lanes: Mapping[str, int]) -> int:
    """Least cycles between two pixels of the stream that node `name` makes, when nothing holds it up."""
    node = network.node(name)
    least = max(1, node.shape[0] // lanes[name])
    if node.op == "input":
        return least
    if node.op == STAGE:
        return least
    if node.op in FOLDED:
        busy = cycles(node, folding[name]) + turns(node, folding[name])
        if not folding[name].prefetch:
            busy += window_beats(network, node, folding[name], lanes) - 1
        return max(least, busy)
    if node.op == "maxpool":  # on average: it gives a row of pixels while the last row of their squares comes in
        return max(least, node["size"] ** 2 * pixel_cycles(network, folding, node.inputs[0], lanes))
    if node.op == "pool" or (node.op == "shortcut" and node["stride"] > 1):
        return least
    sources = node.inputs if node.op == "add" else node.inputs[:1]
    return max(least, *(pixel_cycles(network, folding, source, lanes) for source in sources))


def timing(network: Network, node: Node, folding: Mapping[str, Fold], lanes: Mapping[str, int]) -> Timing:
    """Cycles per image of one folded node, its window's waits for the producer included."""
    fold = folding[node.name]
    source = node.inputs[0]
    supply = pixel_cycles(network, folding, source, lanes)
    if node.op != "linear":  # on their way through a Repack
        channels = network.node(source).shape[0]
        supply = max(supply, channels // math.gcd(lanes[source], feed_lanes(node, fold, lanes)))
    beats = window_beats(network, node, fold, lanes)
    used = cycles(node, fold) + turns(node, fold)
    return window_timing(geometry(network, node), beats, used, supply, fold.prefetch, fold.buffer)


def feed_lanes(node: Node, fold: Fold, lanes: Mapping[str, int]) -> int:
    """Channels a beat into the window of a conv."""
    return fold.feed or lanes[node.inputs[0]]


def window_beats(network: Network, node: Node, fold: Fold, lanes: Mapping[str, int]) -> int:
    """Cycles in which a pixel is loaded into a folded node's window; a linear layer takes all channels at once."""
    return 1 if node.op == "linear" else network.node(node.inputs[0]).shape[0] // feed_lanes(node, fold, lanes)


def timings(network: Network, folding: Mapping[str, Fold]) -> dict[str, Timing]:
    """Busy, load and steady cycles per image of every node that is folded on its own."""
    lanes, network = stream_lanes(network, folding), outline(network, folding)
    return {node.name: timing(network, node, folding, lanes) for node in folded(network)}


def interval(network: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """Cycles per image of every node; the accelerator's interval is the largest of them. A shared stage has those of
    the node that ends it.
    """
    lanes, ends = stream_lanes(network, folding), plans(network, folding)
    result = {name: time.interval for name, time in timings(network, folding).items()}
    network = outline(network, folding)
    for node in network.nodes:
        if node.op == STAGE:
            plan = ends[node.name]
            supply = pixel_cycles(network, folding, plan.source, lanes)
            supply = max(supply, plan.source_shape[0] // math.gcd(lanes[plan.source], plan.entry))
            result[node.name] = stage_interval(plan, supply)
        elif node.op not in FOLDED:
            beats = pixels(node) * (node.shape[0] // lanes[node.name])
            for source in map(network.node, node.inputs):
                beats = max(beats, pixels(source) * (source.shape[0] // lanes[source.name]))
            result[node.name] = beats
    return {node.name: result[node.name] for node in network.nodes}


def serial(network: Network) -> Folding:
    """The smallest folding: one lane a layer."""
    return Folding({node.name: Fold(1, 1, prefetch=False) for node in folded(network)})


def parallel(network: Network, arithmetic: str = "lanes") -> Folding:
    """The largest folding: every product of a pixel at once."""
    return Folding({node.name: Fold(products(node), channels_out(node), arithmetic) for node in folded(network)})
