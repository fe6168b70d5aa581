"""Verbs that show what the hardware is and takes, without a board."""

from typing import Annotated, Literal

from popstream.cli.app import DESIGN, app
from popstream.cli.checks import check_module
from popstream.cli.options import BUILD, Folding, Interval, Net, Out, UsageError, exclusive, option


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
    Takes seconds; ResNet-20 half a minute.
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
