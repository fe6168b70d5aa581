"""Verbs that put a network on a board: fold it, build a bitstream, write it."""

from pathlib import Path
from typing import Annotated, Any

from popstream.cli.app import BOARD, app
from popstream.cli.options import (
    BUILD,
    Board,
    Boards,
    Failed,
    Folding,
    Fps,
    Freq,
    Interval,
    Net,
    Nets,
    Out,
    Seed,
    Seeds,
    UsageError,
    exclusive,
    option,
)

TRIES = 4  # seeds of place and route, by default


def chosen(net: str, board: str, freq: float | None = None) -> tuple[Any, Any, float]:
    """The network, the board and its clock in MHz; UsageError if the board's PLL cannot make `freq`."""
    from popstream.boards.board.top import clock_plan
    from popstream.boards.clock.pll import PllError
    from popstream.boards.known import find as find_board
    from popstream.model.manifest import find, load

    found = find_board(board)
    if freq is not None:
        try:
            clock_plan(found, freq)
        except PllError as error:
            raise UsageError(f"--freq {freq:g} cannot be had on {board}: {error}") from None
    return load(find(net)), found, freq or found.mhz


def folding_on(board: Any, network: Any, interval: int | None, folding: Path | None, root: Path = BUILD) -> Any:
    """The folding of the file, else the one for at most `interval` cycles, else the fastest that fits."""
    from popstream.boards.fitting.capacity import fold
    from popstream.boards.fitting.kept import kept_fit
    from popstream.hw.folding.folding import Folding

    if folding:
        return Folding.load(folding, network)
    kept = kept_fit(board, network, root) if interval is None else None
    return kept.folding if kept else fold(board, network, interval)


@app.command(group=BOARD)
def boards(
    *nets: Nets, fits: Annotated[bool, option("show which networks of model/zoo fit, and how fast")] = False
) -> None:
    """List the boards, and how fast the networks named fit each.

    Or, with --fits, those of model/zoo. By the cost estimate; what it says is kept in build/fits.

    Example: popstream boards digits-w1a2
    Takes a second; with ResNet-20 ten, the first time.
    """
    from popstream.boards.fitting.catalog import table
    from popstream.boards.known import boards as known
    from popstream.model.console import print_whole
    from popstream.model.manifest import find, load, zoo

    networks = [load(find(net)) for net in nets] or [load(folder) for folder in (zoo() if fits else ())]
    print_whole(table(networks, BUILD))
    for board in known().values():
        if board.note:
            print(f"{board.name}: {board.note}")
    if not networks:
        print("popstream boards NET tells at how many cycles an image a network fits each of them; --fits all networks")


@app.command(group=BOARD)
def fold(net: Net, board: Board, /, *, fps: Fps = None, freq: Freq = None) -> None:
    """Fold a network to a board: the fastest, or smallest for --fps.

    Everything is estimated. Writes build/<net>/<board>/fold/: fold.json, and folding.json for --folding.

    Example: popstream fold digits-w1a2 ulx3s-25f --fps 2000
    Takes a second; ResNet-20 three.
    """
    from popstream.boards.fitting.fold import fold_to, tables, write
    from popstream.model.console import table_console

    network, where, mhz = chosen(net, board, freq)
    folding, console = fold_to(where, network, fps, mhz), table_console(160)
    for table in tables(where, network, folding):
        console.print(table)
    folder = BUILD / network.name / board / "fold"
    figures = write(where, network, folding, mhz, folder)
    print(
        f"{figures['lanes']:,} one-bit lanes, {figures['interval_cycles']:,} cycles an image: "
        f"{figures['images_per_s']:,} images/s at {mhz:g} MHz"
    )
    path = folder / "folding.json"
    print(f"-> {path}  (popstream bitstream {network.name} {board} --folding {path})")


@app.command(group=BOARD)
def bitstream(
    net: Net,
    board: Board,
    /,
    *,
    interval: Interval = None,
    folding: Folding = None,
    freq: Freq = None,
    seed: Seed = 0,
    seeds: Seeds = TRIES,
    reloadable: Annotated[bool, option("one whose network popstream reload can exchange")] = False,
    room_for: Annotated[tuple[str, ...], option("a further network it must hold then", metavar="NET")] = (),
    out: Out = None,
) -> None:
    """Build a bitstream with its timing met.

    By default of the fastest folding that fits. Writes build/<net>/<board>/ (<board>-reloadable); for a board of
    Xilinx's a Vivado project instead.

    Example: popstream bitstream digits-w1a2 ulx3s-25f --interval 5000
    Takes a minute or two; resnet20-w1a2 8 to 18 minutes a seed.
    """
    from popstream.boards.flow.build import build, discard, folder_of, report
    from popstream.boards.flow.place import BITSTREAM
    from popstream.model.console import table_console

    exclusive(interval=interval, folding=folding)
    network, where, mhz = chosen(net, board, freq)
    console, tried = table_console(), range(seed, seed + seeds)
    if room_for and not reloadable:
        raise UsageError("--room-for is for a bitstream that is built --reloadable: add that, or leave it out")
    if reloadable:
        from popstream.boards.reload.reload import reload_folder
        from popstream.boards.reload.reloadable import INTERVAL, build_reloadable, check_family
        from popstream.model.manifest import find, load

        check_family(where)
        folder = out or reload_folder(where, network.name)
        whole = folding_on(where, network, interval or INTERVAL, folding)
        others = [load(find(one)) for one in room_for]
        figures = build_reloadable(where, network, whole, mhz, tried, folder, console, others)
        then = f"popstream reload NET {board} exchanges the network"
    else:
        folder = out or folder_of(where, network.name)
        discard(where, folder)
        whole = folding_on(where, network, interval, folding)
        if where.family == "xilinx":
            return vivado(where, network, whole, mhz, folder, console)
        figures = build(where, network, whole, mhz, tried, folder, console)
        then = f"popstream flash {network.name} {board}"
    console.print(report(figures))
    print(f"-> {folder / BITSTREAM[where.family]}  ({then})")
    return None


def vivado(board: Any, network: Any, folding: Any, mhz: float, folder: Path, console: Any) -> None:
    """Export the project, and say how to go on."""
    from popstream.boards.flow.vivado import export, next_steps, report

    figures = export(board, network, folding, mhz, folder, console)
    console.print(report(figures))
    print(next_steps(figures))


@app.command(group=BOARD)
def bitstreams(net: Net, /, *boards: Boards, interval: Interval = None, seed: Seed = 0, seeds: Seeds = TRIES) -> None:
    """Build bitstreams for every board that the open tools build.

    Goes on where it was stopped. Writes build/<net>/bitstreams.json after each board, and prints them all.

    Example: popstream bitstreams digits-w1a2 icebreaker upduino-v3
    Takes 20 minutes for digits-w1a2 on all boards.
    """
    from popstream.boards.flow.bitstreams import build_each, table
    from popstream.boards.flow.place import FLOWS
    from popstream.boards.known import boards as known
    from popstream.model.console import table_console
    from popstream.model.manifest import find, load

    console, wanted = table_console(200), [known()[name] for name in boards]
    for board in wanted:
        if board.family not in FLOWS:
            raise UsageError(f"{board.name} has no open place and route; see popstream bitstream {net} {board.name}")
    network = load(find(net))
    wanted = wanted or [board for board in known().values() if board.family in FLOWS]
    root = BUILD / network.name
    results = build_each(wanted, network, interval, range(seed, seed + seeds), root, console)
    console.print(table(results))
    failed = [name for name, figures in results.items() if "error" in figures]
    print(f"{len(results) - len(failed)} of {len(results)} boards -> {root / 'bitstreams.json'}")
    if failed:
        raise Failed(f"no bitstream for {', '.join(failed)}")


@app.command(group=BOARD)
def reload(
    net: Net,
    board: Board,
    /,
    *,
    base: Annotated[
        Path | None, option("folder of the reloadable build (the one of NET's shape)", metavar="FOLDER")
    ] = None,
) -> None:
    """Put a network into a bitstream that was built --reloadable.

    Writes build/<net>/<board>/.

    Example: popstream reload digits-w1a2 icebreaker
    Takes a synthesis, but no place and route.
    """
    from popstream.boards.flow.build import folder_of
    from popstream.boards.flow.place import BITSTREAM
    from popstream.boards.reload.reload import Base, choose
    from popstream.boards.reload.reload import reload as exchange
    from popstream.boards.reload.reloadable import check_family

    network, where, _ = chosen(net, board)
    check_family(where)
    folder = folder_of(where, network.name)
    figures = exchange(where, network, Base.load(base) if base else choose(where, network), folder)
    print(
        f"{network.name} in the bitstream of {figures['reloaded_from']}: {figures['block_rams_exchanged']} block RAMs "
        f"exchanged in {60 * figures['minutes']:.0f} s -> {folder / BITSTREAM[where.family]}"
    )


@app.command(group=BOARD)
def flash(
    net: Net,
    board: Board,
    /,
    *,
    flash: Annotated[bool, option("write to flash, where it survives power-off, not to SRAM")] = False,
) -> None:
    """Write the bitstream that was built to the board.

    openFPGALoader does it.

    Example: popstream flash digits-w1a2 ulx3s-25f
    Takes what the board's cable takes.
    """
    from popstream.boards.flow.flash import write

    network, where, _ = chosen(net, board)
    path = write(where, network, flash)
    print(f"{path} -> {board} ({'flash' if flash and where.flash else 'as the board loads'})")
