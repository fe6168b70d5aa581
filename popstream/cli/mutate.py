"""The verb that plants faults, in a netlist or in popstream's own Python, and sees whether each is noticed."""

from pathlib import Path
from typing import Annotated

from popstream.cli.app import DESIGN, app
from popstream.cli.checks import between, check_net
from popstream.cli.options import BUILD, Interval, Optimize, Processes, Root, Seed, UsageError, option


@app.command(group=DESIGN)
def mutate(
    net: Annotated[str | None, option("a network of model/zoo, or the path of a manifest", check_net)] = None,
    /,
    *,
    code: Annotated[bool, option("in popstream's own Python instead, for its tests to notice")] = False,
    files: Annotated[
        tuple[str, ...], option("with --code: in these alone", consume_multiple=True, metavar="FILE")
    ] = (),
    mutants: Annotated[int, option("faults to plant, one at a time", between(1, 10_000), metavar="N")] = 200,
    seed: Seed = 0,
    interval: Interval = None,
    processes: Processes = None,
    optimize: Optimize = 1,
    root: Root = BUILD,
) -> None:
    """Plant faults in a netlist or in the code, and see each noticed.

    In NET's netlist of an iCE40: by the comparison of popstream sim, on up to 40 images with pauses. Or in a copy of
    this checkout, in the Python of golden model, freezing, quantizers and manifest: by the tests that reach it. Goes on
    where it was stopped. Writes build/<net>/mutate.json or build/mutate-code.json, which list the survivors.

    Example: popstream mutate digits-w1a2 --mutants 20
    Takes some seconds a fault, and two minutes to compile; with --code ten to look at the tests.
    """
    if (net is None) != code:
        raise UsageError("mutate takes a network, or --code without one")
    if files and not code:
        raise UsageError("--files are for --code")
    if code:
        in_code(files, mutants, seed, root)
    else:
        assert net is not None
        in_netlist(net, mutants, seed, interval, processes, optimize, root)


def in_netlist(
    net: str, mutants: int, seed: int, interval: int | None, processes: int | None, optimize: int, root: Path
) -> None:
    """Faults in a network's netlist."""
    import time

    from popstream.boards.bench.mutants import IMAGES, Mutants, figures, plant, table
    from popstream.boards.bench.netlist import FAMILY, map_network
    from popstream.hw.cost.prices import ICE40_PRICES
    from popstream.model.console import table_console
    from popstream.model.files import write_json
    from popstream.model.machine import cores
    from popstream.model.progress import stage
    from popstream.sim.rtl.images import folding_for, network_and_images

    began, console = time.time(), table_console()
    network, chosen = network_and_images(net, IMAGES)
    whole = folding_for(network, interval, None, prices=ICE40_PRICES, lean=True)
    folder = root / network.name / f"mutants-{FAMILY}"
    with stage(console, f"{network.name}: synthesis, and {mutants} faults"):
        map_network(network, whole, folder, taps=True)
        planted = plant(folder, mutants, seed)
    with stage(console, f"{network.name}: the netlist under Verilator"):
        bench = Mutants(network, folder, chosen.codes, optimize, root)
    said = 0
    with stage(console, f"{network.name}: {mutants} faults") as progress:

        def done(verdict):
            nonlocal said
            said += 1
            progress(f"{said} of {mutants}: {verdict.mutant}: {verdict.noticed or 'not noticed'}")

        verdicts = bench.verdicts(planted, processes or cores(), done)
    content, path = figures(network, verdicts, seed, time.time() - began), root / network.name / "mutate.json"
    write_json(path, content)
    console.print(table(content))
    print(f"{content['noticed']} of {content['mutants']} faults noticed -> {path}")


def in_code(files: tuple[str, ...], mutants: int, seed: int, root: Path) -> None:
    """Faults in popstream's Python."""
    from popstream.model.console import table_console
    from popstream.model.files import write_json
    from popstream.model.progress import stage
    from popstream.mutation.campaign import campaign
    from popstream.mutation.report import table

    console, path = table_console(), root / "mutate-code.json"
    with stage(console, "faults in popstream's Python") as progress:
        content = campaign(mutants, seed, root, files, progress)
    write_json(path, content)
    console.print(table(content))
    print(f"{content['noticed']} of {content['planted']} faults noticed -> {path}")
