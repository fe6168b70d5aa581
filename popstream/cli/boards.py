"""Verbs that choose a board and a folding for it."""

from popstream.cli.app import BOARD, app
from popstream.cli.options import Nets


@app.command(group=BOARD)
def boards(*nets: Nets) -> None:
    """List the boards, and the fastest folding of each network that fits them by the cost estimate.

    Example: popstream boards digits-w1a2
    Takes a minute for all networks of the zoo.
    """
    from popstream.boards.fitting.catalog import table
    from popstream.boards.known import boards as known
    from popstream.model.console import table_console
    from popstream.model.manifest import find, load, zoo

    networks = [load(find(net)) for net in nets] or [load(folder) for folder in zoo()]
    table_console().print(table(networks))
    for board in known().values():
        if board.note:
            print(f"{board.name}: {board.note}")
