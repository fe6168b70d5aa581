"""Verbs of `popstream host`: talk to a board over its UART."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App

from popstream.cli.app import BOARD, app
from popstream.cli.checks import check_count, check_data_set, check_net, positive
from popstream.cli.options import Baud, Failed, Images, option

HELP = "Talk to a board over its UART: identify, classify, self-test."
host = App(name="host", help=HELP, group=BOARD, group_commands="Verbs")
app.command(host)

Port = Annotated[str, option("serial port, for example /dev/ttyUSB1 or COM3", metavar="PORT")]
Timeout = Annotated[float, option("seconds that a reply may take", positive, metavar="SECONDS")]
Known = Annotated[str | None, option("the network, if the board's is not in model/zoo", check_net, metavar="NET")]
Json = Annotated[bool, option("print one JSON object a line")]
BAUD = 1_000_000


@contextlib.contextmanager
def connected(port: str, baud: int | None, timeout: float, net: str | None) -> Iterator[tuple[Any, Any]]:
    """A client on the port, and the board's network, None if it is not known."""
    from popstream.boards.host.client import Client, open_port
    from popstream.boards.host.host import network_of

    with open_port(port, baud or BAUD) as opened:
        client = Client(opened, timeout)
        yield client, network_of(client.identity, net)


@host.command
def ports() -> None:
    """List the serial ports.

    Example: popstream host ports
    Takes less than a second.
    """
    from popstream.boards.host.host import ports as found

    listed = found()
    for device, description in listed:
        print(f"{device:20} {description}")
    if not listed:
        raise Failed("no serial ports; plug the board in, and see that it is powered")


@host.command
def identify(*, port: Port, baud: Baud = BAUD, timeout: Timeout = 5.0, net: Known = None, json: Json = False) -> None:
    """Say what is on the board: network, bits, geometry, folding, clock.

    Example: popstream host identify --port /dev/ttyUSB1
    Takes less than a second.
    """
    from popstream.boards.host.host import describe, show

    with connected(port, baud, timeout, net) as (client, network):
        show(describe(client.identity, network), json)


@host.command
def classify(
    file: Annotated[Path, option("an image of any size: PNG, JPEG, TIFF, BMP, GIF, PPM, WEBP")],
    /,
    *files: Annotated[Path, option("more of them")],
    port: Port,
    baud: Baud = BAUD,
    timeout: Timeout = 5.0,
    net: Known = None,
    json: Json = False,
) -> None:
    """Classify image files.

    Example: popstream host classify cat.png --port /dev/ttyUSB1
    Takes less than a second an image.
    """
    from popstream.boards.host.host import classify_files

    with connected(port, baud, timeout, net) as (client, network):
        classify_files(client, network, (file, *files), json)


@host.command
def data(
    *,
    port: Port,
    baud: Baud = BAUD,
    images: Images = 100,
    set: Annotated[str | None, option("data set (the network's own)", check_data_set, metavar="NAME")] = None,
    timeout: Timeout = 5.0,
    net: Known = None,
    json: Json = False,
) -> None:
    """Classify test images of a data set: accuracy and images/s.

    Example: popstream host data --port /dev/ttyUSB1 --images 100
    Takes what the link takes: at 1,000,000 baud 31 ms an image of CIFAR-10.
    """
    from popstream.boards.host.host import classify_data

    with connected(port, baud, timeout, net) as (client, network):
        classify_data(client, network, images, set, json)


@host.command
def selftest(
    *,
    port: Port,
    baud: Baud = BAUD,
    count: Annotated[int, option("images, 4 to 255", check_count, metavar="N")] = 255,
    timeout: Timeout = 5.0,
    net: Known = None,
    json: Json = False,
) -> None:
    """Throughput without the link: one image, many times, on the board's clock.

    Example: popstream host selftest --port /dev/ttyUSB1
    Takes less than a second.
    """
    from popstream.boards.host.host import self_test

    with connected(port, baud, timeout, net) as (client, _):
        self_test(client, count, json)
