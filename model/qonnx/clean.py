"""A checked model as qonnx's clean-up leaves it: constants folded, shapes known, an initializer a use, new domains.

Files had these domains over time: onnx.brevitas and finn, often without an import of their version. Of Trunc the
version counts: one of five inputs is that of version 1, one of six that of version 2; each is nonsense as the other.
"""

import math
import warnings

import onnx
from onnx import ModelProto, helper

from popstream.model.qonnx.graph import DOMAIN
from popstream.model.qonnx.load import DOMAINS, QonnxError, check_order, shown

__all__ = ["QUANTIZERS", "clean"]

QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "Trunc")
STANDARD = (
    "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "Div",
    "Dropout", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "LeakyRelu", "LogSoftmax", "MatMul",
    "MaxPool", "Mul", "Neg", "Reciprocal", "ReduceMean", "Relu", "Reshape", "Shape", "Slice", "Softmax", "Sqrt",
    "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze",
)  # fmt: skip
STORED_ALONE = 4  # the ir_version from which on what is stored need not be an input, too
MOST_VALUES = 2**26  # of a tensor
WHY = {
    "FloatQuant": "quantizes to floating point; choose integer quantizers",
    "QuantizeLinear": "belongs to the QCDQ export; export QONNX (brevitas.export.export_qonnx)",
    "DequantizeLinear": "belongs to the QCDQ export; export QONNX (brevitas.export.export_qonnx)",
    "Resize": "changes the size of images, for which there is no stage; end the network before it",
    "ConvTranspose": "changes the size of images, for which there is no stage; end the network before it",
    "DepthToSpace": "changes the size of images, for which there is no stage; end the network before it",
    "Sigmoid": "has no thresholds in rationals; use ReLU",
    "Tanh": "has no thresholds in rationals; use ReLU or a clip",
    "MultiThreshold": "is of FINN's own streamlining; take the file before it",
    "Pad": "stands by itself; give its padding to the convolution",
}


def clean(model: ModelProto) -> ModelProto:
    """The model ready to be read and executed; QonnxError for ops that popstream has no place for."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.cleanup import cleanup_model

    taken = ModelProto()
    taken.CopyFrom(model)
    for node in taken.graph.node:
        if node.domain in DOMAINS and node.domain:  # others may be folded away
            check_op(node)
    drop_stored_inputs(taken)
    set_domains(taken)
    set_batch(taken)
    read_once(taken)
    quantized_apart(taken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names, which were just set right
        try:
            shaped = ModelWrapper(taken).transform(InferShapes())
            check_shapes(shaped)
            cleaned = cleanup_model(shaped).model
        except QonnxError:
            raise
        except Exception as error:  # whatever a library says of a graph that does not hold together
            raise QonnxError(f"qonnx cannot clean it up ({type(error).__name__}: {error})") from None
    for node in cleaned.graph.node:
        check_op(node)
    try:
        check_order(cleaned)
    except QonnxError as error:  # as of a stored tensor that is split: the first part alone is kept
        told = f"qonnx's clean-up leaves something out: {error}; store what it reads as a tensor of its own"
        raise QonnxError(told) from None
    return cleaned


def check_op(node) -> None:
    """QonnxError for an op that is not known, with what would do."""
    if node.op_type in (QUANTIZERS if node.domain in DOMAINS and node.domain else STANDARD):
        return
    if not node.domain and node.op_type in QUANTIZERS:
        raise QonnxError(f"{shown(node)}: stands in ONNX's own domain; it belongs to {DOMAIN}")
    known = WHY.get(node.op_type, "is no op that popstream has a place for; docs/bring-your-own.md lists those it has")
    raise QonnxError(f"{shown(node)}: {known}")


def set_domains(model: ModelProto) -> None:
    """qonnx's domain in the place of older ones, imported in the version that Trunc has."""
    given = {entry.domain: entry.version for entry in model.opset_import}
    declared = next((given[domain] for domain in DOMAINS if domain and domain in given), None)
    versions = {}
    for node in model.graph.node:
        if node.op_type in QUANTIZERS:
            node.domain = DOMAIN
        if node.op_type == "Trunc":
            if len(node.input) not in (5, 6):
                raise QonnxError(f"{shown(node)}: has {len(node.input)} inputs; version 1 has 5 of them, version 2 six")
            versions[len(node.input) - 4] = node
    if len(versions) > 1:
        raise QonnxError(f"{shown(versions[1])}: is of version 1, and others of version 2; export the network anew")
    wanted, node = next(iter(versions.items()), (2 if declared is None else declared, None))
    if node is not None and declared not in (None, wanted):
        raise QonnxError(
            f"{shown(node)}: has {wanted + 4} inputs, as version {wanted} of {DOMAIN}, but the file says version "
            f"{declared}; export it anew"
        )
    others = [(domain, version) for domain, version in given.items() if domain not in DOMAINS or not domain]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in [*others, (DOMAIN, wanted)])


def read_once(model: ModelProto) -> None:
    """No node reads a tensor twice, as in x + x: of such qonnx 1.0.0 renames one input alone, and the other dangles."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name and name in node.input[:index]:
                again = f"{name}.again.{len(nodes)}"
                nodes.append(helper.make_node("Identity", [name], [again]))
                node.input[index] = again
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def quantized_apart(model: ModelProto) -> None:
    """Stored weights are quantized for each reader anew: of two readers, the first a Transpose, qonnx 1.0.0 transposes
    the weights of both, and leaves the other one without (findings/qonnx-cleanup-tied-weights.sh).
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    quantizers = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type in QUANTIZERS and len(node.output) == 1 and stored.issuperset(node.input)
    }
    nodes: list[onnx.NodeProto] = []
    read: set[str] = set()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in read:
                twin = onnx.NodeProto()
                twin.CopyFrom(quantizers[name])
                twin.name = twin.output[0] = node.input[index] = f"{name}.for.{len(nodes)}"
                nodes.append(twin)
            elif name in quantizers:
                read.add(name)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def drop_stored_inputs(model: ModelProto) -> None:
    """Tensors that the file holds are no inputs: old files list them as such, whether or not a node reads them."""
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, STORED_ALONE)


def set_batch(model: ModelProto) -> None:
    """One image a time where the file leaves it open."""
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) and not sizes[0].dim_value:
            sizes[0].dim_value = 1


def check_shapes(model) -> None:
    """Each tensor's shape is known and bounded: nothing of it has been allocated yet."""
    for name in [value.name for value in model.graph.input] + [o for node in model.graph.node for o in node.output]:
        shape = model.get_tensor_shape(name)
        if shape is None or any(size < 0 for size in shape):
            raise QonnxError(f"tensor {name!r}: its shape does not follow from the graph; export it for a fixed size")
        if math.prod(shape) > MOST_VALUES:
            raise QonnxError(f"tensor {name!r}: {list(shape)} are more than {MOST_VALUES:,} values")
