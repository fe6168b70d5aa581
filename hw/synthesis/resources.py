"""Synthesis report: `popstream resources NET --family ecp5` says what an accelerator takes of a device.

Yosys maps the Verilog (native where it is on the PATH, else the WebAssembly build from PyPI). Counts are of mapped
cells, in the device's own units: logic as LUT4 equivalents of the slices taken, flip-flops, block RAMs, multipliers.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from popstream.hw.folding.folding import Folding, interval
from popstream.hw.synthesis.yosys import FAMILIES, Device, count, synthesise
from popstream.model.files import write_json
from popstream.model.manifest import Network

__all__ = ["measure", "report"]


def report(device: Device, used: Mapping[str, int], title: str) -> Table:
    """A table of what is used and there is."""
    table = Table(title=title)
    for column in ("resource", "used", "available", "share"):
        table.add_column(column, justify="left" if column == "resource" else "right")
    for resource, total in device.capacity.items():
        number = used[resource]
        table.add_row(resource.upper(), f"{number:,}", f"{total:,}", f"{100 * number / total:.1f} %")
    return table


def save_figures(path: Path, family: str, figures: Mapping[str, object]) -> None:
    """Put `figures` under `family` into the JSON file at `path`, whole, beside those of other families."""
    known = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, known | {family: figures})


def measure(
    network: Network, folding: Folding, top: Path, family: str, record: Path, console: Console
) -> dict[str, Any]:
    """Synthesise `top`, the network's Verilog, for the device of `family`; the figures, also put into `record`.

    SynthesisError if yosys is missing or fails. The netlist lies beside `top`.
    """
    began, device = time.time(), FAMILIES[family]
    with console.status(f"{network.name}: {device.synthesis} (log: {top.parent / 'synth.log'})"):
        cells = synthesise(top, device, top.parent)
    used = count(device, cells)
    figures = {
        "network": network.name, "device": device.name,
        "interval_cycles_estimated": max(interval(network, folding).values()),
        "fits": all(used[resource] <= total for resource, total in device.capacity.items()), **used,
        **{f"{resource}_total": total for resource, total in device.capacity.items()}, "cells": cells,
        "synthesis": device.synthesis, "minutes": round((time.time() - began) / 60, 2),
        "folding": {name: asdict(fold) for name, fold in folding.items()},
    }  # fmt: skip
    save_figures(record, family, figures)
    return figures
