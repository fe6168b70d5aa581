"""The order of weight bits: planes of a conv or linear weight, word after word as one-bit lanes address them."""

import numpy as np

from popstream.model.manifest import Node


def geometry(node: Node) -> tuple[int, int]:
    """(N, Co) of a weight tensor: products of an output, and outputs."""
    weight = node.tensors["weight"]
    return weight[0].size, len(weight)


def weight_words(node: Node, simd: int, pe: int) -> np.ndarray:
    """Bits uint8 [Co/pe * W * N/simd, simd * pe] of a conv or linear weight: a word for group, for plane, for chunk.

    Bit 0 comes first. Bit lane*simd + s is plane k of channel group*pe + lane at input chunk*simd + s, which is
    (ky*K + kx)*Ci + c. ValueError unless simd divides N and pe divides Co.
    """
    n, out = geometry(node)
    if simd < 1 or pe < 1 or n % simd or out % pe:
        raise ValueError(
            f"Node {node.name!r}: simd must divide {n} products and pe {out} channels, but they are {simd} and {pe}"
        )
    q = node.tensors["weight"].reshape(out, -1, *node.tensors["weight"].shape[2:])
    q = np.moveaxis(q, 1, -1).reshape(out, n)  # (ky*K + kx)*Ci + c
    planes = (q >> np.arange(node["weight_bits"], dtype=np.uint8)[:, None, None]) & 1
    order = planes.reshape(-1, out // pe, pe, n // simd, simd).transpose(1, 0, 3, 2, 4)
    return np.ascontiguousarray(order).reshape(-1, pe * simd)


def weight_codes(node: Node, bits: np.ndarray, simd: int, pe: int) -> np.ndarray:
    """The inverse of `weight_words`: codes uint8 in the shape of the node's weight."""
    n, out = geometry(node)
    shape = node.tensors["weight"].shape
    planes = bits.reshape(out // pe, -1, n // simd, pe, simd).transpose(1, 0, 3, 2, 4).reshape(-1, out, n)
    q = (planes << np.arange(len(planes), dtype=np.uint8)[:, None, None]).sum(0, dtype=np.uint8)
    return np.ascontiguousarray(np.moveaxis(q.reshape(out, *shape[2:], shape[1]), -1, 1))
