"""Verbs that show what the hardware is and takes, without a board."""

from typing import Annotated

from popstream.cli.app import DESIGN, app
from popstream.cli.options import BUILD, Folding, Interval, Net, Out, exclusive, option


@app.command(group=DESIGN)
def verilog(
    net: Net,
    /,
    *,
    interval: Interval = None,
    folding: Folding = None,
    taps: Annotated[bool, option("bring every node's values out, too")] = False,
    out: Out = None,
) -> None:
    """Write a network's accelerator as Verilog, with its port list and folding.

    Writes top.v, ports.json and folding.json into build/<net>/verilog.

    Example: popstream verilog resnet20-w1a2 --interval 20000
    Takes seconds; ResNet-20 half a minute.
    """
    from popstream.hw.folding.folding import interval as cycles_of
    from popstream.hw.verilog import write
    from popstream.model.manifest import find, load
    from popstream.sim.rtl.images import folding_for

    exclusive(interval=interval, folding=folding)
    network = load(find(net))
    chosen = folding_for(network, interval, folding)
    top = write(network, chosen, out or BUILD / network.name / "verilog", taps)
    cycles = cycles_of(network, chosen)
    slowest = max(cycles, key=lambda name: cycles[name])
    lanes = sum(fold.lanes for fold in chosen.values() if fold.arithmetic == "lanes")
    multipliers = sum(fold.lanes for fold in chosen.values() if fold.arithmetic == "mac")
    print(
        f"{network.name}: {cycles[slowest]:,} cycles an image (slowest: {slowest}), {lanes:,} one-bit lanes, "
        f"{multipliers:,} multipliers -> {top}"
    )
