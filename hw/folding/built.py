"""What of a manifest the hardware has no block for yet, refused in one line."""

from popstream.hw.folding.fold import FoldingError
from popstream.model.manifest import Network, Node

__all__ = ["check_built"]


def check_built(network: Network) -> None:
    """FoldingError names the first node that no block computes."""
    for node in network.nodes:
        what = missing(network, node)
        if what:
            raise FoldingError(f"Node {node.name!r}: there is no hardware for {what} yet; the golden model computes it")


def missing(network: Network, node: Node) -> str | None:
    if node.op in ("add", "dequantize"):
        return f"the op {node.op!r}"
    if node.op == "input" and "table" in node.tensors:
        return "a table of pixels"
    if node.op == "conv" and node["pad_code"]:
        return f"pad_code {node['pad_code']}"
    if node.op in ("requant", "pool") and node["ties"] != "up":
        return f"ties {node['ties']!r}"
    if node.op == "pool" and network.node(node.inputs[0]).kind == "codes":
        return "a pool of codes"
    return None
