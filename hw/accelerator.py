# amaranth: UnusedElaboratable=no
"""The accelerator: a manifest's network as one pipeline of streaming blocks, a stage for each node.

    input -> [FIFO] window -> matrix-vector -> threshold | requantize (+ skip FIFO) -> ... -> pool -> linear -> logits

Several images are in flight; a new one goes in without a gap. The raw accumulators of a matrix-vector unit carry a
constant offset a channel (`correction`), which is folded into whatever reads them:

    thresholds T' = T + correction    requantization B' = B - M * correction    classifier bias' = bias - correction
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.blocks.head import LOGIT_BITS
from popstream.hw.blocks.window import Window
from popstream.hw.folding.buffering import Buffers, buffers
from popstream.hw.folding.folding import Fold, Folding, entry_lanes, geometry, turns
from popstream.hw.folding.outline import STAGE, outline, plans, units
from popstream.hw.folding.room import Reload
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.stream import Fork, Repack, connect, value_layout
from popstream.hw.lib.tap import Tap, Values, flat_name
from popstream.hw.shared.stage import SharedStage
from popstream.hw.shared.watch import Watch
from popstream.hw.stages import stages
from popstream.hw.unit.matvec import MatVec
from popstream.hw.unit.plan import weight_matrix
from popstream.model.manifest import Network, Node

__all__ = ["Accelerator", "Tap"]


class Accelerator(wiring.Component):
    """`network` computed in the shares of `folding`.

    Parameters
    ----------
    network : a manifest's network.
    folding : a legal fold for each conv and linear node; FoldingError otherwise.
    taps : whether to bring every node's values out, for comparison with the golden model.
    depths : FIFO depths of the requants with skip, by name; computed (hw.folding.buffering) if not given.
    reload : with it all that was trained lies in block RAM whose content may be exchanged for that of any network of
        this shape (storage "reload"), and within a shared stage of any layers within its bounds. Not for prelu nodes
        outside of shared stages.
    counters : whether to bring out lanes_busy and lanes_blocked.

    Attributes
    ----------
    depths : the depths used.
    taps : list of Tap, empty without taps.
    counted : names of the nodes of the bits of lanes_busy and lanes_blocked, empty without counters.
    latencies : cycles from input to output of each node's blocks, by name.

    Members
    -------
    i : In, stream of one pixel a beat: C unsigned codes of A bits. Order: image, row, column.
    o : Out, stream of one image a beat: {"label": unsigned(8), "logits": O values signed(32)}.
    tap_<node>_valid : Out, 1 bit: high in the cycle in which a beat of the node's output is transferred.
    tap_<node>_data : Out, lanes * width bits: that beat, lowest channel first.
    lanes_busy, lanes_blocked : Out, bits in the order of `counted`: lanes work; wait for room behind (else: a window).
    """

    def __init__(
        self,
        network: Network,
        folding: Mapping[str, Fold],
        taps: bool = False,
        depths: Mapping[str, Buffers] | None = None,
        counters: bool = False,
        reload: Reload | None = None,
    ):
        self.network = network
        self.reload = reload
        self.storage = "auto" if reload is None else "reload"
        self.folding = folding if isinstance(folding, Folding) else Folding(dict(folding))
        self.folding.check(network)
        self._outline = outline(network, self.folding)
        self.blocks: dict[str, Any] = {}
        self._tapped, self._watches = taps, list[Watch]()
        self.latencies: dict[str, int] = {}
        self._links: list[tuple[Any, Any]] = []
        self._beside: list[tuple[Any, Any]] = []  # what a window and its unit tell each other beside the stream
        self._values: dict[str, Values] = {}
        self._branches: dict[str, list[Any]] = {}
        pixel = value_layout(unsigned(network.entry_bits), network.input.shape[0])
        self._entry = stream.Signature(pixel).create()
        self._plans = self._made(plans(network, self.folding))
        self._enter(network.input)
        self.depths: dict[str, Buffers] = {}
        joins: list[Node] = []
        make = {
            STAGE: self._stage,
            "conv": self._conv,
            "requant": self._requant,
            "add": self._sum,
            "linear": self._linear,
        }
        for node in self._outline.nodes:
            if node.op != "input":
                make.get(node.op, self._follower)(node)
            if len(node.inputs) == 2:
                joins.append(node)
        self.depths = dict(depths) if depths is not None else buffers(network, self.folding, self.latencies)
        for node in joins:
            self._join(node)
        logits = self._values[network.output.name].port
        members = {"i": In(stream.Signature(pixel)), "o": Out(stream.Signature(logits.payload.shape()))}
        self.taps = [self._tap(node) for node in self._outline.nodes if node.op != "input"] if taps else []
        self._inside = {tap.node: watch for watch in self._watches for tap in watch.taps}
        self.taps += [tap for watch in self._watches for tap in watch.taps]
        for tap in self.taps:
            members |= {f"{tap.port}_valid": Out(1), f"{tap.port}_data": Out(tap.bits)}
        self.counted = list(units(network, self.folding)) if counters else []
        members |= dict.fromkeys(("lanes_busy", "lanes_blocked") if counters else (), Out(len(self.counted)))
        super().__init__(members)

    def _made(self, stages: dict[str, StagePlan]) -> dict[str, StagePlan]:
        """The plans of shared stages as they are built."""
        if self.reload is None:
            return stages
        return {
            name: StagePlan(plan.chain, plan.share, bounds)
            for (name, plan), bounds in zip(stages.items(), self.reload.stages, strict=True)
        }

    def _called(self, name: str) -> str:
        """The blocks of a node; those of a stage to be reloaded have a name that suits any layers."""
        if self.reload is not None and name in self._plans:
            return f"shared{[*self._plans].index(name)}"
        return flat_name(name)

    def _tap(self, node: Node) -> Tap:
        if node.op == "linear":
            return Tap(node.name, node.shape[0], LOGIT_BITS, True, None, 1)
        values = self._values[node.name]
        beats = node.shape[0] // values.lanes
        return Tap(node.name, values.lanes, values.shape.width, values.shape.signed, values.correction, beats)

    def _add(self, node: Node, role: str, block: Any, source: Any = None) -> Any:
        """Keep a block of `node` as submodule and feed its `i` from `source`; returns the block."""
        self.blocks[f"{self._called(node.name)}_{role}"] = block
        self.latencies[node.name] = self.latencies.get(node.name, 0) + getattr(block, "latency", 0)
        if source is not None:
            self._links.append((source, block.i))
        return block

    def _set(self, node: Node, values: Values) -> None:
        """Register the output of `node`, with a fork if several nodes read it."""
        self._values[node.name] = values
        count = len(self._outline.consumers(node.name))
        if count > 1:
            beat = value_layout(values.shape, values.lanes)
            fork = self._add(node, "fork", Fork(beat, count), values.port)
            self._branches[node.name] = list(fork.outputs)
        else:
            self._branches[node.name] = [values.port]

    def _take(self, name: str) -> Values:
        """The output of node `name`, for one of its readers."""
        values = self._values[name]
        return Values(self._branches[name].pop(0), values.shape, values.lanes, values.correction)

    def _repack(self, node: Node, role: str, values: Values, lanes: int, channels: int) -> Any:
        """The port of `values`, with `lanes` channels a beat."""
        if values.lanes == lanes:
            return values.port
        return self._add(node, role, Repack(values.shape, values.lanes, lanes, channels), values.port).o

    def _window(self, node: Node, port: Any, lanes: int, prefetch: bool) -> Window:
        """The window of `node`, `port` of `lanes` channels a beat before it; a linear layer's is one pixel."""
        fold, g = self.folding[node.name], geometry(self.network, node)
        size, turn = (g.channels, g.height, g.width), fold.simd if turns(node, fold) else 0
        outside = node["pad_code"] if node.op == "conv" else 0
        window = Window(*size, node["act_bits"], g.kernel, g.stride, g.padding, lanes, prefetch, turn, outside)
        return self._add(node, "window", window, port)

    def _matvec(self, node: Node, window: Any) -> Values:
        """The unit of `node` behind its Window, or behind the port that gives a linear layer's pixel at once."""
        fold = self.folding[node.name]
        storage, near = fold.storage if self.reload is None else self.storage, geometry(self.network, node).near
        unit = MatVec(
            weight_matrix(node), node["weight_bits"], node["act_bits"], fold.simd, fold.pe, fold.arithmetic, storage,
            None, fold.planes, fold.beat, turns(node, fold), node["weights"], fold.levels, near,
        )  # fmt: skip
        self._add(node, "matvec", unit, window.o if isinstance(window, Window) else window)
        if unit.turns:
            self._beside.append((window.turning, unit.turning))
        elif isinstance(window, Window) and window.prefetch:
            self._beside.append((window.soon, unit.soon))
        return Values(unit.o, Shape.cast(unit.acc_shape), fold.beat, np.asarray(unit.correction, dtype=np.int64))

    def _enter(self, node: Node) -> None:
        """What enters: codes, or pixels that go to the input's table a few channels at a time."""
        values = Values(self._entry, Shape.cast(unsigned(self.network.entry_bits)), node.shape[0])
        if "table" in node.tensors:
            lanes = entry_lanes(node)
            port = self._repack(node, "repack", values, lanes, node.shape[0])
            block = self._add(node, "table", stages.entry(node, lanes, self.storage), port)
            values = Values(block.o, Shape.cast(unsigned(node.bits)), lanes)
        self._set(node, values)

    def _conv(self, node: Node) -> None:
        fold, codes = self.folding[node.name], self._take(node.inputs[0])
        channels = self.network.node(node.inputs[0]).shape[0]
        feed = fold.feed or codes.lanes
        port = self._repack(node, "feed", codes, feed, channels)
        if fold.buffer:
            fifo = StreamFifo(value_layout(codes.shape, feed), fold.buffer * (channels // feed), apart=True)
            port = self._add(node, "buffer", fifo, port).o
        self._set(node, self._matvec(node, self._window(node, port, feed, fold.prefetch)))

    def _stage(self, node: Node) -> None:
        """All layers of a shared stage, as one block."""
        plan, values = self._plans[node.name], self._take(node.inputs[0])
        port = self._repack(node, "feed", values, plan.entry, plan.source_shape[0])
        block = self._add(node, "stage", SharedStage(plan, self._tapped), port)
        self._watches += [block.watch] if self._tapped else []
        self._set(node, Values(block.o, Shape.cast(signed(plan.end_bits)), plan.share.beat))

    def _follower(self, node: Node) -> None:
        """A node of one input that is neither folded nor a requant."""
        values = self._take(node.inputs[0])
        source = self.network.node(node.inputs[0]).shape
        shift = self.reload.shifts.get(node.name) if self.reload is not None else None
        block, shape = stages.follower(node, source, values, self.storage, shift)
        port = self._repack(node, "repack", values, block.lanes, source[0])
        self._add(node, node.op, block, port)
        self._set(node, Values(block.o, shape, block.lanes))

    def _requant(self, node: Node) -> None:
        """The block alone: its inputs are connected here without a skip, and by `_join` with one."""
        acc = self._values[node.inputs[0]]
        block = stages.requant(node, acc, self.storage, None if self.reload is None else self.reload.shifts[node.name])
        self._add(node, "requant", block, None if block.skip else self._take(node.inputs[0]).port)
        self._set(node, Values(block.o, Shape.cast(signed(node["stream_bits"])), acc.lanes))

    def _sum(self, node: Node) -> None:
        """The block alone; both inputs are connected by `_join`."""
        first, second = (self._values[name] for name in node.inputs)
        block = self._add(node, "add", stages.add(node, first, second))
        self._set(node, Values(block.o, Shape.cast(signed(node.bits)), first.lanes))

    def _join(self, node: Node) -> None:
        """Bring both inputs of a requant with skip, or of an add, to it through FIFOs of the depths computed."""
        block = self.blocks[f"{flat_name(node.name)}_{node.op}"]
        acc, skip, depth = self._take(node.inputs[0]), self._take(node.inputs[1]), self.depths[node.name]
        channels, main = node.shape[0], acc.port
        if depth.main is not None:
            beats = depth.main.pixels * (channels // acc.lanes)
            fifo = StreamFifo(value_layout(acc.shape, acc.lanes), beats, apart=True)
            main = self._add(node, "main_fifo", fifo, main).o
        beats = depth.skip.pixels * (channels // skip.lanes)
        fifo = StreamFifo(value_layout(skip.shape, skip.lanes), beats, apart=True)
        self._add(node, "skip_fifo", fifo, skip.port)
        wide = Values(fifo.o, skip.shape, skip.lanes)
        self._links.append((main, block.i))
        self._links.append((self._repack(node, "skip_repack", wide, acc.lanes, channels), block.i_skip))

    def _linear(self, node: Node) -> None:
        codes = self._take(node.inputs[0])
        channels = self.network.node(node.inputs[0]).shape[0]
        if turns(node, self.folding[node.name]):
            raw = self._matvec(node, self._window(node, codes.port, codes.lanes, False))
        else:
            raw = self._matvec(node, self._repack(node, "repack", codes, channels, channels))
        block = stages.classifier(node, raw, self.storage)
        self._add(node, "classifier", block, raw.port)
        self._set(node, Values(block.o, Shape.cast(signed(LOGIT_BITS)), node.shape[0]))

    def _seen(self, tap: Tap) -> tuple[Value, Value]:
        """Whether a beat of the tap's node passes, and the beat."""
        if watch := self._inside.get(tap.node):
            return getattr(watch, f"{tap.port}_valid"), getattr(watch, f"{tap.port}_data")
        port = self._values[tap.node].port
        beat = port.payload.logits if tap.node == self.network.output.name else port.payload
        return port.valid & port.ready, Value.cast(beat)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for name, block in self.blocks.items():
            m.submodules[name] = block
        connect(m, self.i, self._entry)
        for source, sink in self._links:
            connect(m, source, sink)
        m.d.comb += [sink.eq(source) for sink, source in self._beside]
        connect(m, self._values[self.network.output.name].port, self.o)
        for tap in self.taps:
            ports = getattr(self, f"{tap.port}_valid"), getattr(self, f"{tap.port}_data")
            m.d.comb += [port.eq(seen) for port, seen in zip(ports, self._seen(tap), strict=True)]
        for bit in ("busy", "blocked") if self.counted else ():
            blocks = [f"{self._called(name)}_{'stage' if name in self._plans else 'matvec'}" for name in self.counted]
            m.d.comb += getattr(self, f"lanes_{bit}").eq(Cat(getattr(self.blocks[name], bit) for name in blocks))
        return m
