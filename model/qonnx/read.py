"""The nodes of a cleaned file, one after the other, as signals and constants: by what they do, never by their names."""

from collections.abc import Callable
from typing import Any

from onnx import ModelProto, NodeProto, numpy_helper

from popstream.model.qonnx.context import Context, Value, attributes
from popstream.model.qonnx.elements import arithmetic, clip, leaky, negated, norm, relu
from popstream.model.qonnx.joins import average, maxpool
from popstream.model.qonnx.layers import layer_of
from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Function
from popstream.model.qonnx.quants import bipolar_quant, quant, trunc
from popstream.model.qonnx.signals import Constant, Levels, Pixels, Signal, Source

__all__ = ["Reader"]

LAST = ("Softmax", "LogSoftmax", "ArgMax", "TopK")  # the order of logits is all that they look at


class Reader(Context):
    """Every tensor of the file as a Value; `rows` says of each node of the file what it was taken as.

    last: what the sink gives, before ops that only order it.
    """

    def __init__(self, model: ModelProto, source: str, pixels: Pixels):
        self.model = model
        self.values: dict[str, Value] = {
            tensor.name: Constant(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer
        }
        self.values[source] = Signal(pixels, Function(pixels.shape[0]), pixels.shape)
        self.shapes = {value.name: shape_of(value) for value in (*model.graph.value_info, *model.graph.output)}
        self.rows: dict[str, str] = {}
        self.padded = padded(model)
        self.ended: str | None = None
        self.logits = model.graph.output[0].name
        for node in model.graph.node:
            self.take(node)

    @property
    def output(self) -> Signal:
        """The network's output."""
        name = self.model.graph.output[0].name
        value = self.values[name]
        if not isinstance(value, Signal):
            raise QonnxError(f"output {name!r} does not depend on the input")
        return value

    def take(self, node: NodeProto) -> None:
        """Read a node."""
        inputs = [self.values[name] for name in node.input if name]
        if self.ended:
            raise QonnxError(f"{shown(node)}: stands behind {self.ended}, which only orders the logits; end there")
        if all(isinstance(value, Constant) for value in inputs) and node.op_type not in QUANTS:
            self.values[node.output[0]] = constant(node, inputs)
            self.rows[shown(node)] = "a constant"
            return
        if node.op_type in LAST:
            self.values[node.output[0]] = self.signal(node, 0)
            self.rows[shown(node)] = "left out: it only orders the logits"
            self.logits = node.input[0]
            self.ended = shown(node)
            return
        if node.op_type not in HANDLERS:
            raise QonnxError(f"{shown(node)}: has a place among constants alone, and not where an image passes")
        self.rows[shown(node)] = ""
        self.values[node.output[0]] = HANDLERS[node.op_type](self, node)


def shape_of(value: Any) -> tuple[int, ...]:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


def padded(model: ModelProto) -> set[str]:
    """The tensors that a convolution with padding reads, as they are or behind what neither adds up nor quantizes."""
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" and any(attributes(node).get("pads", ())):
            found.add(node.input[0])
        elif node.op_type not in (*QUANTS, "Trunc", "Conv", "Gemm", "MatMul") and node.output[0] in found:
            found.update(node.input)
    return found


def constant(node: NodeProto, inputs: list[Value]) -> Constant:
    """A constant of constants that clean-up left, as quantized weights' transposition."""
    first = inputs[0]
    assert isinstance(first, Constant)
    if node.op_type in ("Identity", "Dropout"):
        return first
    if node.op_type == "Transpose":
        order = attributes(node).get("perm")
        turned = [None if part is None else (part if part.size == 1 else part.transpose(order)) for part in (
            first.whole, first.scale)]  # fmt: skip
        return Constant(first.array.transpose(order), *turned)
    raise QonnxError(f"{shown(node)}: computes with quantized weights or biases; quantize what it gives")


def layer(reader: Context, node: NodeProto) -> Value:
    signal = reader.signal(node, 0)
    weights = reader.constant(node, 1)
    bias = reader.constant(node, 2).array if len(node.input) > 2 and node.input[2] else None
    result, text = layer_of(node, attributes(node), signal, weights, bias)
    reader.note(node, text)
    return result


def reshape(reader: Context, node: NodeProto) -> Value:
    """Flatten, Reshape, Squeeze, Unsqueeze: to one row, or what changes nothing."""
    signal = reader.signal(node, 0)
    shape = [size for size in reader.shapes.get(node.output[0], ())]
    c, h, w = signal.shape
    reader.note(node, "a change of shape")
    if shape in ([1, c, h, w], [c, h, w]) or (h == w == 1 and shape == [1, c]):
        return signal if not signal.flat else Signal(signal.source, signal.function, signal.shape)
    if shape == [1, c * h * w]:
        return flattened(signal)
    raise QonnxError(f"{shown(node)}: makes {shape} of {[1, c, h, w]}; only a row of all values can be made")


def flattened(signal: Signal) -> Signal:
    """[1, C H W]: of an image, whose pixels become channels; of codes until a linear layer reads them."""
    c, h, w = signal.shape
    shape, source, function = (c * h * w, 1, 1), signal.source, signal.function
    if isinstance(source, Pixels) and function.alike:
        return Signal(source.reshaped(shape), Function(shape[0], function.steps), shape)
    if entering_levels(source) and function.alike:
        assert isinstance(source, Levels)
        again = Levels(flattened(source.signal), source.quantizer, source.where, source.tensor)
        return Signal(again, Function(shape[0], function.steps), shape)
    return Signal(source, function, signal.shape, flat=(h, w) != (1, 1))


def entering_levels(source: Source | Levels) -> bool:
    """Whether they are the image's, in one way for all channels, so that a pixel may as well be a channel."""
    if not isinstance(source, Levels) or not isinstance(source.signal.source, Pixels):
        return False
    return source.signal.function.alike and len(source.quantizer.scale) == 1


def same(reader: Context, node: NodeProto) -> Value:
    reader.note(node, "nothing to do")
    return reader.signal(node, 0)


QUANTS = ("Quant", "IntQuant", "BipolarQuant")
HANDLERS: dict[str, Callable[[Context, NodeProto], Value]] = {
    "Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant, "Trunc": trunc,
    "Relu": relu, "Clip": clip, "LeakyRelu": leaky, "BatchNormalization": norm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic), "Neg": negated,
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), layer), "MaxPool": maxpool,
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), average),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("Identity", "Dropout"), same),
}  # fmt: skip
