"""Synthesis report: `popstream resources NET --family ecp5` says what an accelerator takes of a device.

Yosys maps the Verilog (native where it is on the PATH, else the WebAssembly build from PyPI). Counts are of mapped
cells, in the device's own units: logic as LUT4 equivalents of the slices taken, flip-flops, block RAMs, multipliers.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from popstream.hw.cost.prices import ECP5_PRICES, ICE40_PRICES
from popstream.hw.folding.folding import DEFAULT_INTERVAL, FoldingError, interval
from popstream.hw.solver.solve import solve
from popstream.hw.synthesis.yosys import FAMILIES, Device, SynthesisError, count, synthesise
from popstream.hw.verilog import write
from popstream.model.console import table_console
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, find, load


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="popstream resources", description="Synthesise and count resources.")
    parser.add_argument("net", help="a network of model/zoo, or the path of a manifest")
    parser.add_argument("--family", choices=sorted(FAMILIES), default="ecp5")
    parser.add_argument("--interval", type=int, default=DEFAULT_INTERVAL, help="most cycles an image (%(default)s)")
    options = parser.parse_args(arguments)
    device, console = FAMILIES[options.family], table_console()
    began = time.time()
    try:
        network = load(find(options.net))
        lean = options.family == "ice40"
        folding = solve(network, options.interval, ICE40_PRICES if lean else ECP5_PRICES, lean)
        folder = Path("build") / network.name / f"synth-{options.family}"
        with console.status(f"{network.name}: writing Verilog"):
            top = write(network, folding, folder)
        with console.status(f"{network.name}: {device.synthesis} (log: {folder / 'synth.log'})"):
            cells = synthesise(top, device, folder)
    except (ManifestError, FoldingError, SynthesisError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    used = count(device, cells)
    fits = all(used[resource] <= total for resource, total in device.capacity.items())
    cycles = max(interval(network, folding).values())
    console.print(report(device, used, f"{network.name} at {cycles:,} cycles an image on {device.name}"))
    print("fits" if fits else "does not fit; raise the interval (ARGUMENTS='--interval N')")
    figures = {
        "network": network.name, "device": device.name, "interval_cycles_estimated": cycles, "fits": fits, **used,
        **{f"{resource}_total": total for resource, total in device.capacity.items()}, "cells": cells,
        "synthesis": device.synthesis, "minutes": round((time.time() - began) / 60, 2),
        "folding": {name: asdict(fold) for name, fold in folding.items()},
    }  # fmt: skip
    save_figures(Path("build") / network.name / "resources.json", options.family, figures)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
