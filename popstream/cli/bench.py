"""Verbs that measure a network on a board, built and simulated."""

from typing import Annotated

from popstream.cli.app import BOARD, app, run
from popstream.cli.boards import chosen, folding_on
from popstream.cli.checks import at_least
from popstream.cli.host import host
from popstream.cli.options import (
    BUILD,
    Baud,
    Board,
    Boards,
    Failed,
    Folding,
    Freq,
    Images,
    Interval,
    Net,
    Optimize,
    Root,
    UsageError,
    exclusive,
    option,
)


@app.command(group=BOARD)
def bench(
    net: Net,
    /,
    *boards: Boards,
    interval: Interval = None,
    folding: Folding = None,
    freq: Freq = None,
    seed: Annotated[
        int | None, option("of place and route (the build's that is there)", at_least(0), metavar="N")
    ] = None,
    seeds: Annotated[int | None, option("most seeds that are tried (4)", at_least(1), metavar="N")] = None,
    rebuild: Annotated[bool, option("build even if there is a bitstream of this design")] = False,
    optimize: Optimize = 1,
    root: Root = BUILD,
) -> None:
    """Measure images/s, clock and resources, beside published designs.

    Without boards: on those that have a bitstream of NET. Writes build/bench.json and build/bench.md.

    Example: popstream bench digits-w1a2 ulx3s-25f
    Takes what popstream bitstream takes, and a simulation of half a minute.
    """
    from popstream.boards.bench.benchmark import benchmark, boards_of, markdown, save_row, table
    from popstream.model.console import table_console
    from popstream.model.files import write_whole
    from popstream.model.manifest import find, load

    exclusive(interval=interval, folding=folding)
    network, console, path = load(find(net)), table_console(200), root / "bench.json"
    names = boards or boards_of(network, root)
    if not names:
        raise UsageError(f"no bitstream of {network.name} is built; name a board: popstream bench {net} BOARD")
    places = [chosen(net, name, freq)[1] for name in names]
    rows = []
    for board in places:
        row = benchmark(
            board, network, console, rebuild=rebuild, optimize=optimize, root=root,
            interval=interval, file=folding, freq=freq, seed=seed, tries=seeds,
        )  # fmt: skip
        rows = save_row(path, row)
    write_whole(path.with_suffix(".md"), markdown(rows).encode())
    console.print(table(rows))
    console.print(f"{path}, {path.with_suffix('.md').name}", soft_wrap=True)


@app.command(group=BOARD)
def board_sim(
    net: Net,
    board: Board,
    /,
    *command: Annotated[str, option("after --: a verb of popstream host to run on it")],
    images: Images = 20,
    interval: Interval = None,
    folding: Folding = None,
    freq: Freq = None,
    baud: Baud = None,
    terminal: Annotated[bool, option("leave the board to other programs until Ctrl-C")] = False,
    optimize: Optimize = 3,
    root: Root = BUILD,
) -> int:
    """Simulate a board's complete top, asked by the host program.

    Every class and logit is compared with golden. Writes build/<net>/board-sim.json.

    Example: popstream board-sim digits-w1a2 icebreaker --baud 3000000
    Takes 20 seconds with --images 5.
    """
    import signal
    from contextlib import suppress

    from popstream.boards.bench import board_sim as bench

    exclusive(interval=interval, folding=folding)
    if command and command[0] not in host:
        raise UsageError(f"popstream host has no verb {command[0]!r}; popstream host --help lists all")
    network, where, mhz = chosen(net, board, freq)
    whole = folding_on(where, network, interval, folding, root)
    top, link = bench.make_top(where, network, whole, mhz, baud or where.baud)
    wanted = None if command or terminal else bench.expected(network, images)  # before compiling for minutes
    executable = bench.compile_top(top, link, root, optimize)
    with bench.terminal(executable, link) as path:
        if command:
            return run(["host", command[0], *bench.host_arguments(link, net, path), *command[1:]])
        if wanted is None:
            said = link.identity.baud
            print(f"{path}  {said} baud; popstream host identify --port {path} --baud {said}", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
            return 0
        figures = bench.compare(link, net, path, wanted)
    target = root / network.name / "board-sim.json"
    bench.write(top, link, figures, target)
    print(
        f"{network.name} on {board}, complete top in simulation: {figures['images']} images through the UART, "
        f"{figures['values']:,} classes and logits compared with golden, {figures['mismatches']} mismatches; "
        f"top-1 {figures['top1']} % -> {target}"
    )
    if figures["mismatches"]:
        raise Failed(
            f"{figures['mismatches']} of {figures['values']:,} classes and logits differ from golden; {target}"
        )
    return 0
