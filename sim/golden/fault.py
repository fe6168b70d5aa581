"""A deliberate fault in one tensor, to see that the comparison finds it.

It is written `node.tensor[index]` or `node.tensor[index]^bit`:

    faulty = apply(network, parse("stem.conv.weight[3,0,1,1]"))     # bit 0 of that code is flipped
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from popstream.model.manifest import Network

SYNTAX = re.compile(r"(?P<node>.+)\.(?P<tensor>\w+)\[(?P<index>\d+(,\d+)*)\](\^(?P<bit>\d+))?")


class FaultError(ValueError):
    """A fault that cannot be applied; one line: what was given and what is allowed."""


@dataclass(frozen=True)
class Fault:
    """Bit `bit` of element `index` of `tensor` of `node`."""

    node: str
    tensor: str
    index: tuple[int, ...]
    bit: int = 0

    def __str__(self) -> str:
        return f"{self.node}.{self.tensor}[{','.join(map(str, self.index))}]^{self.bit}"


def parse(text: str) -> Fault:
    """FaultError unless `text` follows the syntax."""
    match = SYNTAX.fullmatch(text.replace(" ", ""))
    if match is None:
        raise FaultError(f"Fault must look like stem.conv.weight[3,0,1,1] or stem.conv.weight[3,0,1,1]^0, not {text!r}")
    index = tuple(int(part) for part in match["index"].split(","))
    return Fault(match["node"], match["tensor"], index, int(match["bit"] or 0))


def apply(network: Network, fault: Fault) -> Network:
    """A copy of the network with that bit flipped. FaultError if there is no such bit, ManifestError if the result is
    no legal network (thresholds that decrease, say).
    """
    names = [node.name for node in network.nodes if node.tensors]
    if fault.node not in names:
        raise FaultError(f"No node {fault.node!r} with tensors; there are {', '.join(names)}")
    node = network.node(fault.node)
    if fault.tensor not in node.tensors:
        raise FaultError(f"Node {node.name!r} has no tensor {fault.tensor!r}, only {', '.join(node.tensors)}")
    tensor = node.tensors[fault.tensor].copy()
    bits = node["weight_bits"] if fault.tensor == "weight" else 8 * tensor.itemsize
    if len(fault.index) != tensor.ndim or any(i >= n for i, n in zip(fault.index, tensor.shape, strict=True)):
        raise FaultError(f"Index of {node.name}.{fault.tensor} must be within {list(tensor.shape)}, not {fault.index}")
    if fault.bit >= bits:
        raise FaultError(f"Bit of {node.name}.{fault.tensor} must be 0 to {bits - 1}, not {fault.bit}")
    flat = tensor.view(f"uint{8 * tensor.itemsize}")
    flat[fault.index] ^= np.array(1 << fault.bit, flat.dtype)
    changed = replace(node, tensors={**node.tensors, fault.tensor: tensor})
    nodes = [changed if other.name == node.name else other for other in network.nodes]
    return Network.build(network.name, network.data, network.classes, nodes, network.accuracy, network.training)
