"""Verbs that run a network in simulation."""

from pathlib import Path
from typing import Annotated, Any

from popstream.cli.app import SIMULATE, app
from popstream.cli.checks import at_least, between, check_stem, each, recipes
from popstream.cli.options import (
    BUILD,
    Failed,
    Folding,
    Images,
    Interval,
    Net,
    Optimize,
    Processes,
    Root,
    Seed,
    Stall,
    UsageError,
    exclusive,
    option,
)


@app.command(group=SIMULATE)
def sim(
    net: Net,
    /,
    *,
    images: Images = 20,
    stall: Stall = 0.0,
    seed: Seed = 0,
    interval: Interval = None,
    folding: Folding = None,
    taps: Annotated[int, option("most images compared node by node", at_least(0), metavar="N")] = 50,
    fault: Annotated[
        str | None, option("flip node.tensor[index] or ...^bit in the hardware only", metavar="BIT")
    ] = None,
    waves: Annotated[bool, option("write build/<net>/waves.fst and views of it; take few images")] = False,
    processes: Processes = None,
    optimize: Optimize = 1,
    root: Root = BUILD,
) -> int:
    """Stream images through the RTL; compare every value with golden.

    Where its data set cannot be had, they are pieces of photographs, without labels. Writes build/<net>/sim.json;
    status 1 if a value differs, with the first place that does.

    Example: popstream sim digits-w1a2 --images 20 --stall 0.25
    Takes half a minute, most of it to compile; resnet20-w1a2 three minutes.
    """
    from popstream.model.console import plain_console
    from popstream.sim.rtl.images import folding_for, network_and_images
    from popstream.sim.run import simulate_and_compare, table

    exclusive(interval=interval, folding=folding)
    console = plain_console()
    network, chosen = network_and_images(net, images, seed)
    if chosen.notice:
        console.print(chosen.notice, soft_wrap=True)
    content = simulate_and_compare(
        network, chosen, folding_for(network, interval, folding), console,
        taps=taps, stall=stall, seed=seed, fault=fault, waves=waves, processes=processes, optimize=optimize, root=root,
    )  # fmt: skip
    folder = root / network.name
    path = folder / ("sim-fault.json" if fault else "sim.json")
    console.print(table(content))
    if waves:
        console.print(f"waves: gtkwave {folder}/waves.fst {folder}/waves.gtkw", soft_wrap=True)
        console.print(f"       surfer {folder}/waves.fst --command-file {folder}/waves.sucl", soft_wrap=True)
    if content["divergence"] is None and not content["mismatches"]:
        console.print(f"Every value is equal. {path}", soft_wrap=True)
        return 0
    raise Failed(
        f"{content['mismatches']} of {content['images']} images differ, first at {content['divergence']}; {path}"
    )


@app.command(group=SIMULATE)
def accuracy(
    net: Net,
    /,
    *,
    images: Images = 1000,
    rtl: Annotated[int, option("how many of them for the RTL; 0 leaves it out", at_least(0), metavar="N")] = 20,
    trees: Annotated[bool, option("simulate adder trees and bit planes themselves, no models; slower")] = False,
    compare: Annotated[int | None, option("time both in N runs on the RTL's images", at_least(1), metavar="N")] = None,
    stall: Stall = 0.0,
    seed: Seed = 0,
    interval: Interval = None,
    folding: Folding = None,
    processes: Processes = None,
    optimize: Optimize = 1,
    root: Root = BUILD,
) -> int:
    """Put float, frozen, golden and RTL top-1 side by side.

    The RTL runs by Ray on every core, or on the cluster that RAY_ADDRESS names. Writes build/<net>/accuracy.json;
    with --compare only build/<net>/models.json.

    Example: popstream accuracy digits-w1a2 --images 360 --rtl 360
    Takes 20 seconds; resnet20-w1a2 on all 10,000 images 20 minutes of two cores.
    """
    from popstream.model.console import plain_console
    from popstream.model.manifest import find, load
    from popstream.sim.accuracy import measure, table
    from popstream.sim.rtl.images import folding_for, labelled

    exclusive(interval=interval, folding=folding)
    exclusive(trees=trees or None, compare=compare)
    console = plain_console()
    network = load(find(net))
    chosen = labelled(network, images)
    whole = folding_for(network, interval, folding)
    if compare:
        given = dict(stall=stall, seed=seed, optimize=optimize)
        return compare_ways(network, whole, chosen.codes[:rtl], compare, root=root, **given)
    content = measure(
        network, chosen, whole,
        rtl=rtl, stall=stall, seed=seed, processes=processes, optimize=optimize, root=root, models=not trees,
    )  # fmt: skip
    path = root / network.name / "accuracy.json"
    console.print(table(content))
    wrong = content["mismatches_frozen_golden"] + content["mismatches_golden_rtl"]
    if wrong:
        first = f", RTL at {content['first_divergence']}" if content["first_divergence"] else ""
        raise Failed(f"{wrong} mismatches{first}; {path}")
    console.print(f"All agree. {path}", soft_wrap=True)
    return 0


def compare_ways(network: Any, folding: Any, codes: Any, rounds: int, *, root: Path, **given: Any) -> int:
    """Time the RTL with models in the place of blocks, and without."""
    from popstream.model.console import plain_console
    from popstream.model.progress import stage
    from popstream.sim.reports.models import measure, table

    if not len(codes):
        raise UsageError("--compare needs images for the RTL: --rtl at least 1, not 0")
    console = plain_console()
    with stage(console, "both ways", maybe_done=False) as progress:
        content = measure(network, folding, codes, rounds, root=root, progress=progress, **given)
    console.print(table(content))
    path = root / network.name / "models.json"
    if content["mismatches"]:
        raise Failed(f"{content['mismatches']} of {content['images']} images differ; {path}")
    console.print(f"All agree. {path}", soft_wrap=True)
    return 0


@app.command(group=SIMULATE)
def occupancy(
    net: Net,
    /,
    *,
    images: Images = 12,
    seed: Seed = 0,
    interval: Interval = None,
    folding: Folding = None,
    optimize: Optimize = 1,
    root: Root = BUILD,
) -> int:
    """Measure how long each stage's lanes work, starve and are blocked.

    In steady state. Writes build/<net>/occupancy.json, occupancy.png (stages over time) and cost.png.

    Example: popstream occupancy digits-w1a2
    Takes 25 seconds, most of them to compile.
    """
    from popstream.model.console import table_console
    from popstream.sim import golden
    from popstream.sim.reports.occupancy import measure, table, write_all
    from popstream.sim.rtl.images import folding_for, network_and_images

    exclusive(interval=interval, folding=folding)
    console = table_console()
    network, chosen = network_and_images(net, images, seed)
    if chosen.notice:
        console.print(chosen.notice, soft_wrap=True)
    with console.status("generating, compiling and running the accelerator"):
        shares = folding_for(network, interval, folding)
        found = measure(network, shares, chosen.codes, root, optimize)
    wrong = int((golden.run_batches(network, chosen.codes) != found.answer.logits).any(axis=1).sum())
    folder = root / network.name
    console.print(table(write_all(network, shares, found, wrong, folder)))
    console.print(f"{folder / 'occupancy.json'}, occupancy.png, cost.png", soft_wrap=True)
    if wrong:
        raise Failed(f"{wrong} of {images} images differ from the golden model")
    return 0


@app.command(group=SIMULATE)
def bits(
    net: Annotated[str, option("a recipe of model/recipes, by name", check_stem("recipe", recipes, paths=False))],
    /,
    *,
    bits: Annotated[
        tuple[int, ...], option("W and A to combine", each(between(1, 8)), consume_multiple=True, metavar="BITS")
    ] = (1, 2, 4),
    interval: Interval = 5_000,
    root: Root = BUILD,
) -> None:
    """Measure how cost grows with the bits of weights and activations.

    One folding for a recipe's untrained networks of all W and A, from 2 bits on with odd and with signed weights, and
    its cycles x LUT. Writes build/<net>/bits.json and bits.png.

    Example: popstream bits digits-w1a2 --bits 1 2
    Takes a synthesis and a simulation for each pair of bits.
    """
    from popstream.model.console import table_console
    from popstream.model.files import write_json
    from popstream.sim.reports.bits import measure, points_of, table
    from popstream.sim.reports.charts import bits_chart

    console = table_console(140)
    rows = measure(net, points_of(bits), interval or 5_000, root, console)
    console.print(table(net, rows))
    folder = root / net
    write_json(folder / "bits.json", {"recipe": net, "interval": interval, "rows": rows})
    bits_chart(folder / "bits.png", net, rows)
    print(f"{folder / 'bits.json'}, bits.png")
