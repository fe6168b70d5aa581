"""What cannot be exact is refused in one line: the node, why, and what would do."""

from collections.abc import Callable

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("qonnx")
from popstream.model.qonnx.load import QonnxError, check  # noqa: E402
from popstream.model.qonnx.take import Entry, take  # noqa: E402
from tests.model.qonnx.graphs import Graph, residual  # noqa: E402


def refused(model, entry: Entry | None = None) -> str:
    check(model)
    with pytest.raises(QonnxError) as caught:
        take(model, "net", entry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def image(g: Graph, bits: int = 8) -> str:
    """The image, quantized."""
    return g.quant("x", 1 / 255, bits, signed=0)


def codes(g: Graph, source: str, channels: int = 4, bits: int = 2, **how) -> str:
    """A convolution's sums, and a quantizer."""
    sums = g.conv(source, g.weights((channels, 3, 3, 3), 2))
    return g.quant(g.node("Relu", sums), 0.3, bits, signed=0, **how)


def logits(g: Graph, source: str, channels: int = 4) -> str:
    """The end of a network, whatever came before."""
    flat = g.node("Flatten", g.node("GlobalAveragePool", source), axis=1)
    return g.node("Gemm", flat, g.weights((3, channels), 4), transB=1)


def plain_weights(g):
    return logits(g, g.quant(g.conv(image(g), g.rng.normal(0, 1, (4, 3, 3, 3))), 0.3, 2, signed=0))


def image_not_quantized(g):
    return logits(g, codes(g, "x"))


def wide_activation(g):
    return logits(g, codes(g, image(g), bits=16))


def fractional_bits(g):
    return logits(g, codes(g, image(g), bits=4.66))


def infinite_scale(g):
    w = g.node("BipolarQuant", g.rng.normal(0, 1, (4, 3, 3, 3)), np.inf)
    return logits(g, g.quant(g.conv(image(g), w), 0.3, 2, signed=0))


def nine_bit_weights(g):
    w = g.quant(g.rng.normal(0, 0.4, (4, 3, 3, 3)), 0.002, 8, zero=100)
    return logits(g, g.quant(g.conv(image(g), w), 0.3, 2, signed=0))


def least_weight_negated(g):
    w = g.quant(np.full((4, 3, 3, 3), -9.0), 0.01, 8)
    return logits(g, g.quant(g.norm(g.conv(image(g), w), 4, 2.0, negative=True), 0.3, 2, signed=0))


def grouped(g):
    return logits(g, g.quant(g.conv(image(g), g.weights((3, 1, 3, 3), 2), group=3), 0.3, 2, signed=0), 3)


def dilated(g):
    return logits(g, g.quant(g.conv(image(g), g.weights((4, 3, 3, 3), 2), dilations=[2, 2], pad=2), 0.3, 2, signed=0))


def even_kernel(g):
    return logits(g, g.quant(g.conv(image(g), g.weights((4, 3, 2, 2), 2), pad=0), 0.3, 2, signed=0))


def stride_of_three(g):
    return logits(g, g.quant(g.conv(image(g), g.weights((4, 3, 3, 3), 2), stride=3), 0.3, 2, signed=0))


def uneven_padding(g):
    w = g.weights((4, 3, 3, 3), 2)
    return logits(g, g.quant(g.node("Conv", image(g), w, pads=[0, 0, 1, 1]), 0.3, 2, signed=0))


def zero_between_codes(g):
    return logits(g, codes(g, g.quant("x", 1 / 255, 8, signed=0, zero=0.5)))


def sums_without_quantizer(g):
    sums = g.conv(image(g), g.weights((4, 3, 3, 3), 2))
    return logits(g, g.quant(g.conv(g.node("Relu", sums), g.weights((4, 4, 3, 3), 2)), 0.3, 2, signed=0))


def scale_a_channel(g):
    scale = np.array([0.3, 0.2, 0.3, 0.3]).reshape(1, 4, 1, 1)
    first = g.quant(g.conv(image(g), g.weights((4, 3, 3, 3), 2)), scale, 2, signed=0)
    return logits(g, g.quant(g.conv(first, g.weights((4, 4, 3, 3), 2)), 0.3, 2, signed=0))


def added_sums(g):
    x = codes(g, image(g))
    return logits(g, g.quant(g.node("Add", g.conv(x, g.weights((4, 4, 3, 3), 2)), x), 0.3, 2, signed=0))


def added_scales(g):
    x = codes(g, image(g))
    y = g.node("Add", g.quant(g.conv(x, g.weights((4, 4, 3, 3), 2)), 0.03, 8), g.quant(x, 0.05, 8))
    return logits(g, g.quant(g.node("Add", y, g.quant(x, 0.02, 8)), 0.3, 2, signed=0))


def multiplied(g):
    x = codes(g, image(g))
    return logits(g, g.quant(g.node("Mul", x, g.quant(x, 0.3, 4)), 0.3, 2, signed=0))


def falling_after_addition(g):
    x = codes(g, image(g))
    y = g.quant(g.conv(x, g.weights((4, 4, 3, 3), 2)), 0.05, 8)
    total = g.node("Add", y, g.quant(x, 0.05, 8))
    return logits(g, g.quant(g.norm(total, 4, 1.0, negative=True), 0.3, 2, signed=0))


def part_averaged(g):
    pooled = g.node("AveragePool", codes(g, image(g)), kernel_shape=[4, 4], strides=[4, 4])
    return g.node("Gemm", g.node("Flatten", pooled, axis=1), g.weights((3, 16), 4), transB=1)


def average_of_many(g):
    return logits(g, codes(g, image(g), bits=4))


def average_of_another_scale(g):
    mean = g.node("GlobalAveragePool", codes(g, image(g), bits=4))
    flat = g.node("Flatten", g.quant(mean, 0.07, 4, signed=0), axis=1)
    return g.node("Gemm", flat, g.weights((3, 4), 4), transB=1)


def max_of_overlapping(g):
    return logits(g, g.node("MaxPool", codes(g, image(g)), kernel_shape=[3, 3], strides=[2, 2]))


def trunc_of_sums(g):
    x = g.node("Trunc", codes(g, image(g)), 0.3, 0.0, 8.0, 0.6, 4.0, rounding_mode="FLOOR", signed=0)
    return logits(g, x)


def trunc_of_both_versions(g):
    x = g.node("GlobalAveragePool", codes(g, image(g)))
    x = g.node("Trunc", x, 0.3, 0.0, 8.0, 0.6, 4.0, rounding_mode="FLOOR", signed=0)
    x = g.node("Trunc", x, 0.6, 0.0, 8.0, 4.0, rounding_mode="FLOOR")
    return g.node("Gemm", g.node("Flatten", x, axis=1), g.weights((3, 4), 4), transB=1)


def trunc_of_another_scale(g):
    x = g.node("GlobalAveragePool", codes(g, image(g)))
    x = g.node("Trunc", x, 0.3 / 60, 0.0, 8.0, 0.3, 4.0, rounding_mode="FLOOR", signed=0)
    return g.node("Gemm", g.node("Flatten", x, axis=1), g.weights((3, 4), 4), transB=1)


def class_scales(g):
    flat = g.node("Flatten", g.node("GlobalAveragePool", codes(g, image(g))), axis=1)
    return g.node("Gemm", flat, g.weights((3, 4), 4, per_channel=True), transB=1)


def quantized_logits(g):
    return g.quant(logits(g, codes(g, image(g))), 0.1, 8)


def behind_the_end(g):
    return g.node("Mul", g.node("Softmax", logits(g, codes(g, image(g))), axis=1), 2.0)


def sigmoid(g):
    return logits(g, g.quant(g.node("Sigmoid", g.conv(image(g), g.weights((4, 3, 3, 3), 2))), 0.3, 2, signed=0))


def quantize_linear(g):
    return logits(g, g.node("QuantizeLinear", "x", 1.0))


def multi_threshold(g):
    return logits(g, g.node("MultiThreshold", "x", [[0.0]], out_dtype="BIPOLAR"))


def float_quant(g):
    return logits(g, g.node("Resize", image(g), np.zeros(0), [1.0, 1.0, 2.0, 2.0]))


def transposed(g):
    return logits(g, g.node("Transpose", codes(g, image(g)), perm=[0, 1, 3, 2]))


def no_linear_end(g):
    return g.quant(g.conv(image(g), g.weights((4, 3, 3, 3), 2)), 0.3, 2, signed=0)


def pixels_at_the_end(g):
    return g.conv(codes(g, image(g)), g.weights((4, 4, 3, 3), 2))


def two_quantizers_of_the_image(g):
    first = codes(g, image(g))
    second = g.quant(g.conv(g.quant("x", 0.5, 1, signed=0), g.weights((4, 3, 3, 3), 2)), 0.3, 8)
    return logits(g, g.quant(g.node("Add", g.quant(first, 0.3, 8), second), 0.3, 2, signed=0))


def weights_of_the_image(g):
    x = codes(g, image(g))
    return logits(g, g.quant(g.node("Conv", x, x), 0.3, 2, signed=0))


def training_norm(g):
    sums = g.conv(image(g), g.weights((4, 3, 3, 3), 2))
    one = np.ones(4)
    return logits(g, g.quant(g.node("BatchNormalization", sums, one, one, one, -one), 0.3, 2, signed=0))


NO = {
    plain_weights: "Conv 'Conv_0': its weights are not quantized; use a layer with a weight quantizer (QuantConv2d)",
    image_not_quantized: "Conv 'Conv_0': reads the image, which no quantizer has made whole numbers; put a",
    wide_activation: "Quant 'Quant_3': bit width must be a whole number from 1 to 8, not 16",
    fractional_bits: "bit width must be a whole number from 1 to 8, not 4.66",
    infinite_scale: "BipolarQuant 'BipolarQuant_0': scale must be finite and not 0, not inf; were weights or",
    nine_bit_weights: "need 9 bits, of 8; take narrow weights, or no zero point",
    least_weight_negated: "weights of -128 to 128 (some negated, for a BatchNorm of negative gain) need 9 bits",
    grouped: "Conv 'Conv_0': is in 3 groups (depthwise?); only group = 1 can be",
    dilated: "Conv 'Conv_0': is dilated; only dilation 1 can be",
    even_kernel: "Conv 'Conv_0': has a kernel of 2 x 2; only odd squares can be",
    stride_of_three: "Conv 'Conv_0': has strides [3, 3]; only 1 or 2 in both directions can be",
    uneven_padding: "Conv 'Conv_0': pads its sides differently; give one padding for all four",
    zero_between_codes: "Conv 'Conv_0': pads with 0, for which its input has no code",
    sums_without_quantizer: "Conv 'Conv_1': reads values that no quantizer has made codes of; put a quantizer",
    scale_a_channel: "Conv 'Conv_1': reads codes of another scale in each channel; take one for all (per tensor)",
    added_sums: "Add 'Add_0': adds a value that no quantizer bounds; put one QuantIdentity before the addition",
    added_scales: "and 0.02, and what is added is a sum already; let both branches share one QuantIdentity",
    multiplied: "Mul 'Mul_0': multiplies or divides two activations; only constants can be",
    falling_after_addition: "falls with the sum that it reads in channel 0 (BatchNorm of negative gain behind an",
    part_averaged: "AveragePool 'AveragePool_0': averages a part of 8 x 8 pixels; only averages over all of them",
    average_of_many: "Gemm 'Gemm_0': reads an average whose sums of 0 to 960 do not fit into 8 bits; quantize it",
    average_of_another_scale: "no shift of the sums of 64 pixels does what it does, and sums of 0 to 960 do not fit",
    max_of_overlapping: "MaxPool 'MaxPool_0': takes other than squares of 2 to 8, side by side; let its stride",
    trunc_of_sums: "Trunc 'Trunc_0': stands behind no average over all pixels, where alone it is a shift",
    trunc_of_both_versions: "is of version 1, and others of version 2; export the network anew",
    trunc_of_another_scale: "Trunc 'Trunc_0': its scale 0.005 is not that of the sums that it reads, 0.0046875",
    class_scales: "the logits have another scale for each class, and their sums do not compare; quantize the last",
    quantized_logits: "quantizes the logits, and unequal ones may become equal; end before it",
    behind_the_end: "Mul 'Mul_0': stands behind Softmax 'Softmax_0', which only orders the logits; end there",
    sigmoid: "Sigmoid 'Sigmoid_0': has no thresholds in rationals; use ReLU",
    quantize_linear: "belongs to the QCDQ export; export QONNX (brevitas.export.export_qonnx)",
    multi_threshold: "is of FINN's own streamlining; take the file before it",
    float_quant: "Resize 'Resize_0': changes the size of images, for which there is no stage; end the network",
    transposed: "Transpose 'Transpose_0': has a place among constants alone, and not where an image passes",
    no_linear_end: "Quant 'Quant_2': quantizes the logits",
    pixels_at_the_end: "its last layer gives 8 x 8 pixels by a kernel of 3; pool over all pixels, then end with a",
    two_quantizers_of_the_image: "its input is read by two quantizers or layers; quantize it once, and read that",
    weights_of_the_image: "Conv 'Conv_1': its weights 'Identity_0_out0' depend on the image; let them be constant",
    training_norm: "BatchNormalization 'BatchNormalization_0': its variance must be above 0",
}  # fmt: skip


@pytest.mark.parametrize("make", NO, ids=lambda make: make.__name__)
def test_a_network_that_cannot_be_exact(make: Callable):
    g = Graph((1, 3, 8, 8))
    assert NO[make] in refused(g.model(make(g)))


def test_trunc_of_six_inputs_under_version_1():
    """qonnx reads it without an error, and as something else: output scale as bits."""
    said = refused(residual(3, version=1))
    assert "has 6 inputs, as version 2 of qonnx.custom_op.general, but the file says version 1; export it anew" in said


def test_mean_and_std_for_other_channels():
    assert "--mean has 2 values, and the network 3 channels; give 1 or 3" in refused(
        residual(3), Entry(mean=(0.5, 0.5))
    )


def test_a_size_that_would_not_fit_into_memory():
    model = Graph((1, 3, 2**15, 2**15))
    assert "are more than 67,108,864 values" in refused(model.model(logits(model, codes(model, image(model)))))


def test_constants_that_grow():
    """Two vectors whose product would be 64 GB: refused by its shape, before clean-up computes it."""
    g = Graph((1, 3, 8, 8))
    big = g.node("MatMul", np.zeros((2**17, 1)), np.zeros((1, 2**17)))
    assert "are more than 67,108,864 values" in refused(g.model(g.node("Add", "x", big)))
