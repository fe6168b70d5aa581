"""Verbs that show what the hardware is and takes, without a board."""

from typing import Annotated, Any, Literal

from popstream.cli.app import DESIGN, app
from popstream.cli.checks import at_least, check_module
from popstream.cli.options import (
    BUILD,
    Failed,
    Folding,
    Freq,
    Images,
    Interval,
    Net,
    Optimize,
    Out,
    Root,
    Seed,
    Seeds,
    Stall,
    UsageError,
    exclusive,
    option,
)

Family = Annotated[Literal["ecp5", "ice40"], option("family of devices", metavar="FAMILY")]


@app.command(group=DESIGN)
def verilog(
    net: Net,
    /,
    *,
    interval: Interval = None,
    folding: Folding = None,
    name: Annotated[str, option("the module's name", check_module, metavar="NAME")] = "top",
    bus: Annotated[Literal["plain", "axi"], option("valid and ready, or AXI-Stream")] = "plain",
    registers: Annotated[bool, option("add Wishbone registers: enable, status, counts, times")] = False,
    taps: Annotated[bool, option("bring every node's values out, too")] = False,
    out: Out = None,
) -> None:
    """Write a network's accelerator as Verilog, for a design of your own.

    Writes NAME.v, ports.json, folding.json, NAME.core (FuseSoC), NAME.vlt
    (Verilator) into build/<net>/verilog, with --name into a folder NAME there.
    Modules of different names fit into one design.

    Example: popstream verilog digits-w1a2 --name digits --bus axi --registers
    Takes two seconds; ResNet-20 a quarter of a minute.
    """
    from popstream.hw.folding.folding import interval as cycles_of
    from popstream.hw.packaging import TOP
    from popstream.hw.verilog import write
    from popstream.model.manifest import find, load
    from popstream.sim.rtl.images import folding_for

    exclusive(interval=interval, folding=folding)
    if taps and (registers or bus != "plain"):
        raise UsageError("--taps goes with the plain bus alone, without --registers")
    network = load(find(net))
    chosen = folding_for(network, interval, folding)
    folder = out or BUILD / network.name / "verilog" / ("" if name == TOP else name)
    top = write(network, chosen, folder, taps, name=name, bus=bus, registers=registers)
    cycles = cycles_of(network, chosen)
    slowest = max(cycles, key=lambda name: cycles[name])
    lanes = sum(fold.lanes for fold in chosen.values() if fold.arithmetic == "lanes")
    multipliers = sum(fold.lanes for fold in chosen.values() if fold.arithmetic == "mac")
    print(
        f"{network.name}: {cycles[slowest]:,} cycles an image (slowest: {slowest}), {lanes:,} one-bit lanes, "
        f"{multipliers:,} multipliers -> {top}"
    )


@app.command(group=DESIGN)
def resources(
    net: Net,
    /,
    *,
    family: Family = "ecp5",
    interval: Interval = None,
    folding: Folding = None,
    root: Root = BUILD,
) -> None:
    """Synthesise a network; count LUTs, flip-flops, RAMs, multipliers.

    By default folded for 20,000 cycles an image. Writes build/<net>/resources.json; status 1 if it does not fit.

    Example: popstream resources digits-w1a2 --family ice40
    Takes a quarter of a minute.
    """
    from popstream.hw.cost.prices import ECP5_PRICES, ICE40_PRICES
    from popstream.hw.synthesis.resources import measure, report
    from popstream.hw.synthesis.yosys import FAMILIES
    from popstream.hw.verilog import write
    from popstream.model.console import table_console
    from popstream.model.manifest import find, load
    from popstream.sim.rtl.images import folding_for

    exclusive(interval=interval, folding=folding)
    network, console, lean = load(find(net)), table_console(), family == "ice40"
    chosen = folding_for(network, interval, folding, prices=ICE40_PRICES if lean else ECP5_PRICES, lean=lean)
    folder = root / network.name
    with console.status(f"{network.name}: writing Verilog"):
        top = write(network, chosen, folder / f"synth-{family}")
    figures = measure(network, chosen, top, family, folder / "resources.json", console)
    device, cycles = FAMILIES[family], figures["interval_cycles_estimated"]
    console.print(report(device, figures, f"{network.name} at {cycles:,} cycles an image on {device.name}"))
    if not figures["fits"]:
        raise Failed(f"{network.name} at {cycles:,} cycles an image does not fit {device.name}; raise --interval")
    print("fits")


def show(status: Any, name: str, last: int, seed: int) -> None:
    """Say which seed is placed and routed."""
    status.update(f"{name}: place and route, seed {seed} of up to {last}")


@app.command(group=DESIGN)
def unit(
    *units: Annotated[str, option("units to take (all): see --list")],
    seed: Seed = 1,
    seeds: Seeds = 5,
    freq: Freq = None,
    list: Annotated[bool, option("list the units")] = False,
) -> None:
    """Place and route the compute unit by itself, beside others' blocks.

    The fastest of the seeds is kept. Writes build/unit.json.

    Example: popstream unit conv16 conv64
    Takes half a minute a unit and seed.
    """
    from functools import partial

    from popstream.hw.synthesis.alone import UNITS, best, table
    from popstream.hw.synthesis.yosys import SynthesisError
    from popstream.model.console import table_console
    from popstream.model.files import write_json

    if list:
        print("\n".join(UNITS))
        return
    wrong = [name for name in units if name not in UNITS]
    if wrong:
        raise UsageError(f"there is no unit {', '.join(wrong)}; choose of {', '.join(UNITS)}")
    console, rows, failed = table_console(), [], []
    tried = range(seed, seed + seeds)
    for name in units or UNITS:
        folder = BUILD / "unit" / name
        try:
            with console.status(f"{name}: synthesis (logs in {folder})") as status:
                routed = partial(show, status, name, tried[-1])
                rows.append(best(name, UNITS[name], folder, tried, freq, routed))
        except (SynthesisError, OSError) as error:
            failed.append(str(error))
    console.print(table(rows))
    write_json(BUILD / "unit.json", rows)
    if failed:
        raise Failed("; ".join(failed))


@app.command(group=DESIGN)
def cost(
    *, points: Annotated[int | None, option("only the first so many (all)", at_least(1), metavar="N")] = None
) -> None:
    """Compare the cost model with synthesis, on sixteen points.

    Goes on where it was stopped. Writes build/cost/cost.json; status 1 where an estimate is too far off.

    Example: popstream cost --points 1
    Takes a quarter of a minute.
    """
    from dataclasses import replace

    from popstream.hw.solver.shared import around, body
    from popstream.hw.solver.solve import solve
    from popstream.hw.synthesis.fit import FOLDER, SEEN, TOLERANCE, UNSEEN, fits, report, run
    from popstream.model.console import table_console
    from popstream.model.files import write_json
    from popstream.model.manifest import find, load

    console, chosen, rows = table_console(140), (*SEEN, *UNSEEN)[:points], []
    for number, point in enumerate(chosen, 1):
        network = load(find(point.net))
        share = point.share and replace(point.share, layers=body(network))
        folding = around(network, [share], point.target) if share else solve(network, point.target)
        if folding is None:
            raise Failed(f"{point.name}: no layer in front of its stage is as fast as {point.target:,} cycles")
        rows.append(run(point, network, folding, console))
        console.print(f"{number} of {len(chosen)}: {point.name}, LUT {100 * rows[-1]['off']['lut']:+.1f} %")
    console.print(report(rows))
    write_json(FOLDER / "cost.json", rows)
    worst = max(abs(row["off"]["lut"]) for row in rows)
    print(f"LUT at most {100 * worst:.1f} % off; block by block in {FOLDER / 'cost.json'}")
    wrong = [f"{row['network']}-{row['target']}" for row in rows if not fits(row["off"])]
    if wrong:
        raise Failed(f"more than {100 * TOLERANCE:.0f} % off, or block RAMs or multipliers: {', '.join(wrong)}")


@app.command(group=DESIGN)
def netlist(
    net: Net,
    /,
    *,
    images: Images = 20,
    stall: Stall = 0.0,
    interval: Interval = None,
    folding: Folding = None,
    taps: Annotated[bool, option("compare every node's values; adds ports to the netlist")] = False,
    flip: Annotated[
        int | None, option("invert a bit of a LUT: the result must differ", at_least(0), metavar="SEED")
    ] = None,
    optimize: Optimize = 0,
    root: Root = BUILD,
) -> None:
    """Run a network's synthesised netlist in simulation, against golden.

    Of an iCE40; by default folded for 20,000 cycles an image. Writes build/<net>/netlist.json.

    Example: popstream netlist digits-w1a2 --images 3
    Takes a minute.
    """
    import time

    from popstream.boards.bench.netlist import FAMILY, Netlist, figures, flip_lut, map_network, sentence
    from popstream.hw.cost.prices import ICE40_PRICES
    from popstream.hw.synthesis.yosys import FAMILIES
    from popstream.model.files import write_json
    from popstream.sim.rtl.images import folding_for, network_and_images

    exclusive(interval=interval, folding=folding)
    began = time.time()
    network, chosen = network_and_images(net, images)
    if chosen.notice:
        print(chosen.notice)
    whole = folding_for(network, interval, folding, prices=ICE40_PRICES, lean=True)
    folder = root / network.name / f"netlist-{FAMILY}"
    print(f"{network.name}: {FAMILIES[FAMILY].synthesis}, then the netlist under Verilator ({folder})", flush=True)
    cells = map_network(network, whole, folder, taps)
    flipped = None if flip is None else flip_lut(folder, flip)
    report = Netlist(network, folder, optimize, root).compare(chosen.codes, stall)
    content = figures(network, report, cells, flipped, taps, stall, time.time() - began)
    path = root / network.name / ("netlist.json" if flipped is None else "netlist-flip.json")
    write_json(path, content)
    if flipped:
        print(f"inverted: {flipped}")
    print(f"{sentence(content)} -> {path}")
    if not report.good:
        raise Failed(f"{report.mismatches} of {report.images} images differ, first at {report.divergence}; {path}")
