"""A QONNX file run by its own executor (the package qonnx), every tensor of it, beside the golden model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from popstream.model.manifest import Network
from popstream.model.qonnx.take import Taken
from popstream.model.qonnx.write import entry_of
from popstream.sim import golden

__all__ = ["Compared", "compare_taken", "compare_written", "execute", "totals", "with_batch"]


@dataclass(frozen=True)
class Compared:
    """Values of one node compared over all images, and how many differ; halves: how many were rounded from exactly
    between two levels.
    """

    node: str
    values: int
    mismatches: int
    halves: int = 0


def totals(compared: Sequence[Compared]) -> dict[str, int]:
    """Of all quantizers, which the logits come behind: how many they are, and their values, halves and mismatches."""
    sums = {key: sum(getattr(row, key) for row in compared) for key in ("values", "halves", "mismatches")}
    return {"quantizers": len(compared) - 1, **sums}


def execute(model: ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of the graph for these inputs."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    return execute_onnx(ModelWrapper(model), inputs, return_full_exec_context=True)


def with_batch(model: ModelProto, images: int) -> ModelProto:
    """A model that popstream wrote, for so many images at once; its graph holds no size of a batch, but its tensors."""
    taken = ModelProto()
    taken.CopyFrom(model)
    weights = {node.output[0] for node in taken.graph.node if node.op_type in ("Quant", "BipolarQuant")}
    for value in (*taken.graph.input, *taken.graph.value_info, *taken.graph.output):
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = images
    return taken


def compare_written(network: Network, model: ModelProto, images: np.ndarray) -> Iterator[Compared]:
    """Golden's value at every node against that of the executor, for the tensor of the node's name.

    model: as model/qonnx/write.py makes it. images: uint8 [N, C, H, W] as they enter.
    """
    found = execute(with_batch(model, len(images)), {entry_of(network): images.astype(np.float32)})
    _, taps = golden.run(network, images, [node.name for node in network.nodes])
    for node in network.nodes:
        expected = taps[node.name]
        given = found[node.name].reshape(expected.shape)
        yield Compared(node.name, expected.size, int(np.count_nonzero(given != expected)))


def compare_taken(taken: Taken, images: np.ndarray) -> list[Compared]:
    """Codes and streams of all quantizers of a file, as its executor gives them, against golden's; and the logits.

    images: uint8 [N, C, H, W] as they enter the network. Of the logits those count that are further from golden's than
    the rounding of biases and float32 explain.
    """
    network = taken.network
    names = [check.node for check in taken.checks]
    logits, taps = golden.run(network, images, names)
    (source,) = (value.name for value in taken.model.graph.input)
    reads = {node.output[0]: node.input[0] for node in taken.model.graph.node}
    wrong: Counter[str] = Counter()
    halves: Counter[str] = Counter()
    for index, image in enumerate(images):
        pixels = image.reshape(len(taken.entry), -1)
        entering = np.stack([row[x] for row, x in zip(taken.entry, pixels, strict=True)]).reshape(taken.shape)
        found = execute(taken.model, {source: entering.astype(np.float32)})
        for check in taken.checks:
            a, b = (np.array([float(v) for v in line]).reshape(-1, 1, 1) for line in (check.a, check.b))
            expected = taps[check.node][index]
            after, before = (
                (found[name].astype(np.float64).reshape(expected.shape) - b) / a
                for name in (check.tensor, reads[check.tensor])
            )
            halves[check.node] += int(
                np.count_nonzero((before % 1 == 0.5) & (before > 0) & (before < check.levels - 1))
            )
            given = np.rint(after)
            if check.values is not None:
                bounded = np.clip(given, 0, check.levels - 1).astype(np.int64)
                given = np.where(given == bounded, np.array(check.values)[bounded], np.nan)
            wrong[check.node] += int(np.count_nonzero(given != expected))
        given = found[taken.logits].astype(np.float64).reshape(-1) / float(taken.unit)
        far = np.abs(given - logits[index]) > float(taken.off) + np.maximum(1e-3, np.abs(given) * 1e-5)
        if taken.sign:
            far = (given >= 0) != (logits[index] >= 0)
        wrong[network.output.name] += int(np.count_nonzero(far))
    sizes = {name: taps[name].size for name in names} | {network.output.name: logits.size}
    return [Compared(name, size, wrong[name], halves[name]) for name, size in sizes.items()]
