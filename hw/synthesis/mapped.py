"""A mapped netlist, made ready for nextpnr: carry chains without cells that do nothing, LUTs that it knows to time,
registers that a block RAM has, and none that all parts of a design share.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from copy import deepcopy as copy_of
from pathlib import Path
from typing import Any

__all__ = ["absorb_registers", "split_constants", "trim_carries", "unregistered", "widen_luts"]

PLAIN = {"CLKMUX": "CLK", "REGSET": "RESET"}  # parameters of a flip-flop as a block RAM's output register is


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


def absorb_registers(path: Path) -> int:
    """Make flip-flops that alone read a block RAM's port its output register; returns how many are gone.

    For yosys' JSON netlist at `path`, for an ECP5. A bit comes 5.6 ns after the clock where it is read, 1.0 ns with the
    register inside (nextpnr, speed grade 6), which yosys never uses. Every bit of the port that is read must go to one
    flip-flop, all of them with the RAM's clock and one enable, without a reset of their own, and 0 at first.
    """
    netlist = json.loads(path.read_text())
    absorbed = 0
    for module in netlist["modules"].values():
        cells = module["cells"]
        rams = [cell for cell in cells.values() if cell["type"] == "DP16KD"]
        given = {bit for cell in rams for bits, _ in _read_ports(cell).values() for bit in bits.values()}
        readers = defaultdict[Any, list[str | None]](list)
        for name, port, _, bit in _inputs(module):
            if bit in given:
                readers[bit].append(name if cells[name]["type"] == "TRELLIS_FF" and port == "DI" else None)
        for port in module["ports"].values():
            for bit in given.intersection(port["bits"]):
                readers[bit].append(None)
        for ram in rams:
            for side, (bits, modes) in _read_ports(ram).items():
                read = {pin: readers[bit] for pin, bit in bits.items() if readers[bit]}
                absorbed += _absorb(ram, side, modes, read, cells)
    path.write_text(json.dumps(netlist))
    return absorbed


def split_constants(path: Path) -> int:
    """Give each reader of a register of a constant, in yosys' JSON netlist at `path`, one of its own; returns how many.

    For an ECP5. Such a register is 0 at first and 1 ever after: synthesis makes one of all of them, and where weights
    of several units are such constants its wires lead through the whole device.
    """
    netlist = json.loads(path.read_text())
    added = 0
    for module in netlist["modules"].values():
        cells = module["cells"]
        shared = {
            cell["connections"]["Q"][0]: name
            for name, cell in cells.items()
            if cell["type"] == "TRELLIS_FF" and _is_constant(cell)
        }
        free = 1 + max((bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits
                        if isinstance(bit, int)), default=1)  # fmt: skip
        kept: set[int] = set()  # nets whose first reader keeps the register there is
        for name, port, place, bit in [found for found in _inputs(module) if found[-1] in shared]:
            if bit not in kept:
                kept.add(bit)
                continue
            copy = copy_of(cells[shared[bit]])
            copy["connections"]["Q"] = [free]
            cells[f"{shared[bit]}_{free}"] = copy
            cells[name]["connections"][port][place] = free
            free, added = free + 1, added + 1
    path.write_text(json.dumps(netlist))
    return added


def _is_constant(flip_flop: dict[str, Any]) -> bool:
    """Whether a flip-flop takes a constant in every cycle, without enable or reset."""
    wires = flip_flop["connections"]
    return wires["DI"] in (["0"], ["1"]) and not any(
        isinstance(bit, int) for port in ("CE", "LSR") for bit in wires.get(port, [])
    )


def _read_ports(ram: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Of each read port (A, B) of a DP16KD the bits by pin, and the ports whose mode of registers is its: with words of
    36 bits the pins of both are port B's."""
    wide = any(int(ram["parameters"][f"DATA_WIDTH_{side}"], 2) == 36 for side in "AB")
    pins: dict[str, dict[str, Any]] = {"A": {}, "B": {}}
    for pin, bits in ram["connections"].items():
        if pin.startswith("DO") and bits and isinstance(bits[0], int):
            pins["B" if wide else pin[2]][pin] = bits[0]
    return {side: (found, "AB" if wide else side) for side, found in pins.items() if found}


def _absorb(
    ram: dict[str, Any], side: str, modes: str, readers: dict[str, list[str | None]], cells: dict[str, Any]
) -> int:
    """Put the flip-flops that read a port into the RAM, if they are as its register is; how many there were.

    `readers` of each pin that is read: names of flip-flops, None for anything else.
    """
    names = {pin: some[0] for pin, some in readers.items() if len(some) == 1 and some[0] is not None}
    ports, parameters = ram["connections"], ram["parameters"]
    if not names or len(names) < len(readers) or parameters[f"REGMODE_{side}"] != "NOREG":
        return 0
    enables = set()
    for name in names.values():
        known, wires = cells[name]["parameters"], cells[name]["connections"]
        plain = all(known.get(what) == value for what, value in PLAIN.items())
        if not plain or wires["CLK"] != ports[f"CLK{side}"] or wires.get("LSR", ["0"]) not in (["0"], ["x"]):
            return 0
        enables.add((known["CEMUX"].strip(), *wires.get("CE", ["1"])))
    mux, enable = enables.pop()
    if enables or mux not in ("1", "CE") or parameters.get(f"CLK{side}MUX", f"CLK{side}") != f"CLK{side}":
        return 0
    for pin, name in names.items():
        ports[pin] = cells.pop(name)["connections"]["Q"]
    for mode in modes:
        parameters[f"REGMODE_{mode}"] = "OUTREG"
        ports[f"OCE{mode}"] = ["1"]
    ports[f"OCE{side}"] = [enable if mux == "CE" else "1"]
    return len(names)


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


def _inputs(module: dict[str, Any]) -> Iterator[tuple[str, str, int, Any]]:
    """Every bit that a cell reads: the cell, its port, the bit's place there, and the net or constant."""
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                for place, bit in enumerate(bits):
                    yield name, port, place, bit


def _readers(module: dict[str, Any]) -> Counter[Any]:
    """How many cell inputs and output ports read each bit."""
    read = Counter(bit for *_, bit in _inputs(module))
    for port in module["ports"].values():
        if port["direction"] != "input":
            read.update(port["bits"])
    return read
