"""Which outputs of a netlist an input reaches within a cycle: for what is promised not to be combinational."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["combinational", "sources"]

Netlist = dict[str, Any]
"""A flat module of yosys' write_json."""


def stores(cell: Netlist) -> bool:
    """Whether nothing passes the cell within a cycle: a flip-flop, or a memory whose reads are all clocked."""
    kind, parameters = cell["type"], cell["parameters"]
    if kind.startswith("$mem"):
        return "0" not in parameters["RD_CLK_ENABLE"].lstrip()
    return "dff" in kind


def drivers(module: Netlist) -> dict[int, list[int]]:
    """For each bit that a cell drives within a cycle, the bits that the cell sees."""
    found: dict[int, list[int]] = {}
    for cell in module["cells"].values():
        if stores(cell):
            continue
        ways = cell["port_directions"]
        seen = [bit for port, bits in cell["connections"].items() if ways[port] == "input" for bit in bits]
        for port, bits in cell["connections"].items():
            if ways[port] == "output":
                found |= {bit: seen for bit in bits}
    return found


def sources(module: Netlist, output: str) -> set[str]:
    """Names of the inputs on which the output depends within a cycle."""
    behind, ports = drivers(module), module["ports"]
    owner = {bit: name for name, port in ports.items() if port["direction"] == "input" for bit in port["bits"]}
    waiting, seen = list(ports[output]["bits"]), set()
    while waiting:
        bit = waiting.pop()
        if bit not in seen:
            seen.add(bit)
            waiting += behind.get(bit, [])
    return {owner[bit] for bit in seen if bit in owner}


def combinational(module: Netlist, promises: Iterable[tuple[str, str]]) -> list[str]:
    """The promises (input, output), "no path within a cycle", that are broken: a sentence each."""
    return [
        f"{output} depends on {name} within a cycle" for name, output in promises if name in sources(module, output)
    ]
