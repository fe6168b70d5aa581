"""A mapped netlist, made ready for nextpnr: carry chains without cells that do nothing, LUTs that it knows to time."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["trim_carries", "unregistered", "widen_luts"]


def trim_carries(path: Path) -> int:
    """Disconnect unused ends of the carry chains in yosys' JSON netlist at `path`; returns how many.

    nextpnr adds a cell of two LUTs to a chain wherever a net is connected to its last COUT, even one without a reader,
    and wherever its first CIN is a constant. The first is not needed without a reader, the second where the first
    position's LUT4 gives 0 and its sum is not read: its carry is then its own.
    """
    netlist = json.loads(path.read_text())
    trimmed = 0
    for module in netlist["modules"].values():
        carries = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]
        read = _readers(module)
        for cell in carries:
            ports = cell["connections"]
            if ports.get("COUT") and not read[ports["COUT"][0]]:
                ports["COUT"] = ["x"]  # nextpnr's way to say that a port is there and open
                trimmed += 1
            if ports.get("CIN") == ["0"] and not read[(ports.get("S0") or [None])[0]] and _starts(cell):
                ports["CIN"] = ["x"]
                trimmed += 1
    path.write_text(json.dumps(netlist))
    return trimmed


def widen_luts(path: Path) -> int:
    """Call LUT1 to LUT3 in yosys' JSON netlist at `path`, for a Gowin device, LUT4; returns how many.

    They are the same cells, but nextpnr knows the delay of LUT4 alone: paths through the others are missing from the
    clock that it reports. The inputs added are open, and the contents repeated, so that they make no difference.
    """
    netlist = json.loads(path.read_text())
    cells = [cell for module in netlist["modules"].values() for cell in module["cells"].values()]
    small = [cell for cell in cells if cell["type"] in ("LUT1", "LUT2", "LUT3")]
    for cell in small:
        entries = 2 ** int(cell["type"][-1])
        cell["type"] = "LUT4"
        cell["parameters"]["INIT"] = cell["parameters"]["INIT"][-entries:].zfill(entries) * (16 // entries)
    path.write_text(json.dumps(netlist))
    return len(small)


def unregistered(path: Path) -> dict[str, str]:
    """An iCE40's multipliers in yosys' JSON netlist at `path` that lack a register, by nextpnr's names, and where.

    Behind the "adder", behind the product ("output"), else at the "inputs", of those that are wired.
    """
    found = {}
    for module in json.loads(path.read_text())["modules"].values():
        for name, cell in module["cells"].items():
            if cell["type"] == "SB_MAC16" and (where := _lacks_register(cell)):
                found[f"{name}_DSP"] = where
    return found


def _lacks_register(cell: dict[str, Any]) -> str:
    """Behind the "adder", at the "output" or the "inputs" of an SB_MAC16; "" where registers cut every path on both
    sides. Its outputs are the adder's (0), registered (1), or a product of 8 x 8 or 16 x 16 bits (2, 3)."""
    set_to = {name: value.lstrip("0") or "0" for name, value in cell["parameters"].items()}
    wired = {port for port, bits in cell["connections"].items() if any(isinstance(bit, int) for bit in bits)}
    shown = {set_to.get(f"{half}OUTPUT_SELECT", "0") for half in ("TOP", "BOT")}
    if shown != {"1"}:
        return "adder" if "0" in shown else "output"
    return "" if all(set_to.get(f"{port}_REG") == "1" for port in wired & {"A", "B", "C", "D"}) else "inputs"


def _starts(cell: dict[str, Any]) -> bool:
    """Whether the first position's LUT4 is 0 for its inputs: C and D of 1, and maybe B."""
    ports, init = cell["connections"], int(cell["parameters"]["INIT0"], 2)
    fixed = {pin: int(ports[f"{name}0"][0]) for pin, name in enumerate("ABCD") if ports[f"{name}0"][0] in ("0", "1")}
    return all(
        not init >> entry & 1 for entry in range(16) if all(entry >> pin & 1 == bit for pin, bit in fixed.items())
    )


def _readers(module: dict[str, Any]) -> Counter[Any]:
    """How many cell inputs and output ports read each bit."""
    read: Counter[Any] = Counter()
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                read.update(bits)
    for port in module["ports"].values():
        if port["direction"] != "input":
            read.update(port["bits"])
    return read
