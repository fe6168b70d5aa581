# amaranth: UnusedElaboratable=no
"""The board without the board: the host link under Verilator behind a pseudo-terminal.

    python -m boards.board_sim digits-w1a2                          prints the terminal's path and runs until Ctrl-C
    python -m boards.board_sim digits-w1a2 -- data --images 20      runs `python -m boards.host` on it and ends

The PLL is left out; a bit takes CLOCK_HZ / BAUD = 8 clocks.
"""

import argparse
import os
import signal
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boards import host
from boards.harness import ROOT, clocks_per_bit, compile_link
from boards.link import HostLink
from hw.folding import DEFAULT_INTERVAL, FoldingError
from hw.solve import solve
from model.manifest import ManifestError, Network, find, load
from sim.build import BuildError

__all__ = ["make_link", "terminal"]

CLOCK_HZ, BAUD = 24_000_000, 3_000_000
GAP = 1 << 17  # clocks; simulated time hardly passes while the line is idle
TIMEOUT = "60"  # seconds for a reply, which a large network takes in simulation
ERROR = 1


def make_link(network: Network, interval: int = DEFAULT_INTERVAL) -> HostLink:
    """The link as it is simulated."""
    return HostLink(network, solve(network, interval), CLOCK_HZ, BAUD, GAP)


@contextmanager
def terminal(executable: Path, link: HostLink) -> Iterator[str]:
    """Runs the bench of compile_link behind a pseudo-terminal; gives its path."""
    master, slave = os.openpty()
    tty.setraw(slave)  # and kept open, so that it stays so between two programs
    command = [str(executable.resolve()), repr(clocks_per_bit(link)), str(master)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[master])
    os.close(master)
    try:
        yield os.ttyname(slave)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)
        os.close(slave)


def arguments(given: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Own options, and the host program's command after `--`."""
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="python -m boards.board_sim", description="A board in simulation.")
    parser.add_argument("net", help="a network of model/zoo, or the path of a manifest")
    parser.add_argument("--interval", type=int, default=DEFAULT_INTERVAL, help="most cycles an image (%(default)s)")
    parser.add_argument("--optimize", type=int, default=3, help="C++ compiler's level; 1 compiles sooner (%(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of everything built (%(default)s)")
    parser.epilog = "After --: a command of boards.host, to which the port is added."
    return parser.parse_args(given[:split]), given[split + 1 :]


def main(given: list[str] | None = None) -> int:
    """The exit status: of the host's command, 0 after Ctrl-C, 1 with one line if there is no simulation."""
    options, command = arguments(sys.argv[1:] if given is None else given)
    try:
        link = make_link(load(find(options.net)), options.interval)
        print("compiling the board", file=sys.stderr)
        executable = compile_link(link, options.root, options.optimize)
        with terminal(executable, link) as path:
            if command:
                extra = ["--port", path, "--baud", str(BAUD), "--timeout", TIMEOUT, "--net", options.net]
                return host.main([command[0], *extra, *command[1:]])
            print(f"{path}  {BAUD} baud; python -m boards.host identify --port {path} --baud {BAUD}", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    except (ManifestError, FoldingError, BuildError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
