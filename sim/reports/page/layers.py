"""What a manifest says of a network's layers: shapes, bits, work, and which of them a skip goes around."""

from typing import Any

from popstream.hw.folding.folding import channels_out, folded, pixels, products
from popstream.model.manifest import Network, Node, fork

__all__ = ["chosen_taps", "describe", "layers", "skips"]

REDUCED = {"average": "means of 2 x 2 pixels", "sample": "every second pixel"}


def title(node: Node) -> str:
    """A layer's name without what every layer's name ends with."""
    return node.name.removesuffix(".conv")


def skips(network: Network) -> list[dict[str, Any]]:
    """The skip paths: names of the first and the last layer that each goes around, and what happens on the way.

    layers: those on the skip itself (a projection). A skip that goes around no layer is left out.
    """
    found = []
    for node in network.nodes:
        if len(node.inputs) != 2:
            continue
        _, *paths = fork(network, node)
        main, way = sorted(
            paths, key=lambda path: -sum(step.op == "conv" for step in path)
        )  # an add's, either way round
        around = [step.name for step in main if step.op == "conv"]
        if not around:
            continue
        words = []
        for step in way:
            if step.op == "shortcut" and step["stride"] == 2:
                words.append(REDUCED[step["reduce"]])
            if step.op == "shortcut" and step.shape[0] > network.node(step.inputs[0]).shape[0]:
                words.append(f"{step.shape[0]} channels")
            if step.op == "conv":
                words.append(f"{step['kernel']} x {step['kernel']} conv")
        projected = [step.name for step in way if step.op == "conv"]
        found.append(dict(first=around[0], last=around[-1], change=", ".join(words), layers=projected))
    return found


def between(network: Network, node: Node) -> list[str]:
    """Max-pooling, PReLU and pooling on the main way from a layer to the next."""
    found, source = [], node
    while readers := [
        reader for reader in network.consumers(source.name) if reader.inputs[0] == source.name or reader.op == "add"
    ]:
        source = next((reader for reader in readers if reader.op in ("conv", "linear")), readers[0])
        if source.op in ("conv", "linear"):
            break
        if source.op not in ("threshold", "requant", "shortcut", "dequantize", "add"):
            found.append(source.op)
    return found


def layers(network: Network) -> list[dict[str, Any]]:
    """Every conv and linear layer in order; shapes are [C, H, W], products those of one image."""
    return [
        {
            "node": node.name,
            "title": title(node),
            "op": node.op,
            "in_shape": list(network.node(node.inputs[0]).shape),
            "out_shape": list(node.shape),
            "kernel": node.attributes.get("kernel", 1),
            "stride": node.attributes.get("stride", 1),
            "weight_bits": node["weight_bits"],
            "act_bits": node["act_bits"],
            "weights": int(node.tensors["weight"].size),
            "products": products(node) * channels_out(node) * pixels(node),
            "then": between(network, node),
        }
        for node in folded(network)
    ]


def chosen_taps(network: Network) -> list[Node]:
    """Nodes whose values tell an image's way: the first layer's result, what the second reads, the last at each size.

    In the network's order; the pooled codes close the list.
    """
    first = folded(network)[0]
    way = [node for node in network.nodes if node.kind in ("stream", "codes") and node.op != "input"]
    after_first = next((node for node in way if node.inputs[0] == first.name), None)
    codes = next((node for node in way if node.op == "threshold"), None)
    last_of = {node.shape[1:]: node for node in way if node.op in ("requant", "add", "prelu", "maxpool")}
    chosen = {node.name for node in (after_first, codes, *last_of.values()) if node is not None}
    chosen |= {node.name for node in way if node.op == "pool"}
    return [node for node in way if node.name in chosen]


def describe(network: Network) -> dict[str, Any]:
    """The part "network" of report.json."""
    found = layers(network)
    return {
        "name": network.name,
        "data": network.data,
        "classes": list(network.classes),
        "hash": network.hash,
        "input_shape": list(network.input.shape),
        "input_bits": network.entry_bits,
        "weights": sum(layer["weights"] for layer in found),
        "products": sum(layer["products"] for layer in found),
        "layers": found,
        "skips": skips(network),
        "bits": hidden_bits(found),
    }


def hidden_bits(found: list[dict[str, Any]]) -> list[str]:
    """W and A of the layers between the first and the last, or of all if there are none between: "W1A2", each once."""
    inner = found[1:-1] or found
    return list(dict.fromkeys(f"W{layer['weight_bits']}A{layer['act_bits']}" for layer in inner))
