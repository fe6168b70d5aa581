"""The verb that puts all that is known of a network on one page."""

from typing import Annotated

from popstream.cli.app import DESIGN, app
from popstream.cli.checks import check_board
from popstream.cli.options import BUILD, Net, Root, option


@app.command(group=DESIGN)
def report(
    net: Net,
    board: Annotated[str | None, option("the board of a bitstream (the fastest one built)", check_board)] = None,
    /,
    *,
    root: Root = BUILD,
) -> None:
    """Write all that is known of a network on one page, for a browser.

    Diagram, accuracy, agreement, folding, cost, clock, occupancy, images and
    training, as other verbs left them in build/<net>; for what is not measured
    it names the command. Writes build/<net>/report.html and report.json.

    Example: popstream report digits-w1a2 ulx3s-25f
    Takes seconds; resnet20-w1a2 ten.
    """
    from popstream.boards.bench.published import PUBLISHED
    from popstream.model.manifest import find, load
    from popstream.sim.reports.page.page import write_report

    content, path = write_report(load(find(net)), root, board, PUBLISHED)
    for item in content["missing"]:
        print(f"not on it: {item['what']} ({item['why']}); {item['command']}")
    print(path)
