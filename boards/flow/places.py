"""A netlist with places for some of its cells, as a run of nextpnr that only places them tells."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from popstream.boards.flow.toolchain import Progress, run
from popstream.model.files import write_whole

__all__ = ["Cells", "with_bels"]

Cells = Mapping[str, Mapping[str, Any]]
"""Cells of a JSON of nextpnr's by name, placed ones with a NEXTPNR_BEL."""
PLACED = "placed.json"


def with_bels(
    tool: str, folder: Path, out: Path, netlist: str, arguments: Sequence[str],
    kind: str, choose: Callable[[Cells], dict[str, str]], stem: str, result: str, progress: Progress,
) -> str:  # fmt: skip
    """`folder`/`netlist` with the places that `choose` finds in the placed design for its cells of type `kind`, as
    `out`/`result`; returns that name within `folder`. The log is `out`/`stem`.log.

    `arguments` are nextpnr's for the device, placer, clock and seed. ToolError where it does not place the design.
    """
    name = out.name
    told = ["--no-route", "--json", netlist, "--write", f"{name}/{PLACED}", "--quiet", "--log", f"{name}/{stem}.log"]
    try:
        run(tool, [*arguments, *told], folder, f"{name}/{stem}.log", progress)
        places = choose(json.loads((out / PLACED).read_text())["modules"]["top"]["cells"])
    finally:
        (out / PLACED).unlink(missing_ok=True)  # large, and read once
    design = json.loads((folder / netlist).read_text())
    for cell, content in design["modules"]["top"]["cells"].items():
        if content["type"] == kind:
            content["attributes"]["BEL"] = places[cell]
    write_whole(out / result, json.dumps(design).encode())
    return f"{name}/{result}"
