"""A QONNX file of another's making as a network of the manifest: exactly, or a QonnxError that names node and reason.

    taken = take(load_model(path), "mine", Entry(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)))
    taken.network, taken.rows

What is exact: every code of every quantizer is that of the file in rational numbers, its float32 constants taken as
they stand. How the file's own executor, which rounds to float32, compares with that is for sim/executed.py to say.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from onnx import ModelProto

from popstream.model.manifest import ManifestError, Network
from popstream.model.qonnx.build import Builder, Check
from popstream.model.qonnx.clean import clean
from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.read import Reader
from popstream.model.qonnx.signals import Layer, Levels, Pixels, Signal

__all__ = ["Entry", "Taken", "take"]

PIXELS = 256
TYPE = re.compile(r"(BIPOLAR|BINARY|U?INT([1-8]))")


@dataclass(frozen=True)
class Entry:
    """How a pixel x of 0 to 255 enters: ((x / 255, or x itself where `raw`) - mean) / std, in float32 as PyTorch does.

    mean and std: one for all channels, or one each.
    """

    raw: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def options(self) -> str:
        """As the command line has it."""
        given = [f"--{key} {' '.join(f'{v:g}' for v in values)}" for key, values, usual in (
            ("mean", self.mean, (0.0,)), ("std", self.std, (1.0,))) if values != usual]  # fmt: skip
        return " ".join(["--raw"] * self.raw + given)

    def values(self, channels: int) -> np.ndarray:
        """float32 [C, 256]; QonnxError where mean or std are not for so many channels."""
        for key, given in (("mean", self.mean), ("std", self.std)):
            if len(given) not in (1, channels):
                raise QonnxError(
                    f"--{key} has {len(given)} values, and the network {channels} channels; give 1 or {channels}"
                )
        x = np.arange(PIXELS, dtype=np.float32)
        x = x if self.raw else x / np.float32(255)
        mean, std = (np.array(v, np.float32)[:, None] for v in (self.mean, self.std))
        return np.broadcast_to((x - mean) / std, (channels, PIXELS))


@dataclass(frozen=True, eq=False)
class Taken:
    """network; model: the cleaned file; rows: (node of the file, what it was taken as); checks: what to compare.

    entry: float32 [C, number of pixel values], what enters the executor for each; shape: of the file's input. unit: the
    value of one step of the logits, the tensor `logits` (`sign`: of which it has but the sign). off: how far a
    logit is from the file's at most, in steps, for its bias is whole.
    """

    network: Network
    model: ModelProto
    rows: list[tuple[str, str]]
    checks: list[Check]
    entry: np.ndarray
    shape: tuple[int, ...]
    unit: Fraction
    off: Fraction
    logits: str
    sign: bool


def annotated(model: ModelProto, name: str) -> np.ndarray | None:
    """The values of an input whose annotation says that it is whole numbers of 8 bits or fewer."""
    for entry in model.graph.quantization_annotation:
        kinds = [pair.value for pair in entry.quant_parameter_tensor_names if pair.key == "finn_datatype"]
        found = TYPE.fullmatch(kinds[0]) if entry.tensor_name == name and kinds else None
        if found:
            bits = int(found[2] or 1)
            values = np.arange(2**bits, dtype=np.float32)
            if found[1] == "BIPOLAR":
                return 2 * values - 1
            return values - 2 ** (bits - 1) if found[1].startswith("INT") else values
    return None


def take(model: ModelProto, name: str, entry: Entry | None = None, data: str = "noise", **more: Any) -> Taken:
    """The network that a checked model is; classes (by number unless given) and training go into its manifest."""
    cleaned = clean(model)
    source = entering(cleaned)
    given = tuple(size.dim_value for size in source.type.tensor_type.shape.dim)
    shape = given[1:] if len(given) == 4 else (*given[1:], 1, 1) if len(given) == 2 else ()
    if given[0] != 1 or not shape:
        raise QonnxError(f"input {source.name!r}: has shape {list(given)}; one image, [1, C, H, W] or [1, C], can be")
    values = annotated(cleaned, source.name) if entry is None else None
    given_values = (entry or Entry()).values(shape[0]) if values is None else values[None]
    table = np.broadcast_to(given_values, (shape[0], given_values.shape[1]))
    rows = [tuple(map(Fraction, row)) for row in table.astype(np.float64).tolist()]
    pixels = Pixels((shape[0], shape[1], shape[2]), tuple({row: row for row in rows}[row] for row in rows))
    reader = Reader(cleaned, source.name, pixels)
    builder = Builder()
    unit, off, sign = finish(builder, reader.output)
    labels = more.pop("classes", None) or [str(i) for i in range(reader.output.shape[0])]
    try:
        network = Network.build(name, data, labels, builder.nodes, source=name, **more)
    except ManifestError as error:
        raise QonnxError(f"its nodes were read, but make no network: {error}") from None
    said = [(node, builder.taken.get(node) or text or "read by no node") for node, text in reader.rows.items()]
    return Taken(network, cleaned, said, builder.checks, table, given, unit, off, reader.logits, sign)


def entering(model: ModelProto) -> Any:
    """The one input of a cleaned file."""
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        counts = f"{len(model.graph.input)} inputs and {len(model.graph.output)} outputs"
        raise QonnxError(f"has {counts}; it must have one of each")
    return model.graph.input[0]


def finish(builder: Builder, signal: Signal) -> tuple[Fraction, Fraction, bool]:
    """The sink; the value of one step of its logits, how far at most one is from the file's, in steps, and `sign`."""
    sign = False
    if isinstance(signal.source, Levels) and signal.source.quantizer.step == 2 and signal.shape == (1, 1, 1):
        builder.say(signal.source, "the sign of the one logit: exact")
        sign, signal = True, signal.source.signal
    if isinstance(signal.source, Levels):
        raise QonnxError(
            f"{signal.source.where}: quantizes the logits, and unequal ones may become equal; end before it"
        )
    layer, line = signal.source, signal.function.affine
    if not isinstance(layer, Layer) or line is None:
        raise QonnxError("its output is not the sums of a layer, scaled; end the network with a linear layer's logits")
    if layer.shape[1:] != (1, 1) or layer.weights.shape[2] != 1:
        raise QonnxError(
            f"its last layer gives {layer.shape[1]} x {layer.shape[2]} pixels by a kernel of {layer.weights.shape[2]}; "
            "pool over all pixels, then end with a linear layer"
        )
    if len({*line.a}) != 1 or not line.a[0]:
        raise QonnxError(
            "the logits have another scale for each class, and their sums do not compare; quantize the last layer's "
            "weights per tensor"
        )
    unit = line.a[0]
    if unit < 0:
        layer = Layer(layer.shape, layer.source, -layer.weights, 1, 0, 0, layer.top)
    wanted = [b / abs(unit) for b in line.b] * (layer.shape[0] // len(line.b))
    bias = [floor(b) if sign else round(b) for b in wanted]
    if any(abs(b) >= 2**31 for b in bias):
        raise QonnxError("a bias of the last layer does not fit into 32 bits of its sums; choose a greater scale")
    builder.linear(layer, np.array(bias, np.int32))
    off = Fraction(0) if sign else max(abs(b - w) for b, w in zip(bias, wanted, strict=True))
    return abs(unit), off, sign
