"""Compares what the hardware gave with what the golden model says, and names the first place where they part.

    report = compare(network, codes, result)
    report.mismatches, str(report.divergence)

Zero mismatches, not a tolerance. "First" is the order of the data's way: node after node (topological), then image,
channel-last pixel order within it (row, column, channel), as the hardware streams it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from popstream.model.manifest import Network
from popstream.sim import golden
from popstream.sim.bench.run import Result


@dataclass(frozen=True)
class Divergence:
    """The first value of a node that differs, and how many of its values do."""

    node: str
    op: str
    image: int
    y: int
    x: int
    channel: int
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        return (
            f"node {self.node} ({self.op}), image {self.image}, pixel ({self.y},{self.x}), channel {self.channel}: "
            f"expected {self.expected}, got {self.got} (values of this node that differ: {self.count})"
        )


@dataclass(frozen=True)
class Missing:
    """A node whose tap holds fewer images than were asked for."""

    node: str
    op: str
    images: int
    wanted: int

    def __str__(self) -> str:
        return f"node {self.node} ({self.op}): values of {self.images} of {self.wanted} images came"


@dataclass(frozen=True)
class Report:
    """mismatches: images whose logits or label differ; values: integers compared in all; divergence: the first.

    wrong_images: int64, which images; the first of them may lie beyond those that taps were recorded for.
    """

    images: int
    mismatches: int
    values: int
    wrong_images: np.ndarray
    golden_labels: np.ndarray
    divergence: Divergence | Missing | None

    @property
    def good(self) -> bool:
        """Whether every value was equal."""
        return self.divergence is None and self.mismatches == 0


def first_difference(expected: np.ndarray, got: np.ndarray) -> tuple[tuple[int, int, int, int], int] | None:
    """((image, y, x, channel), number of differences) of [N, C, H, W] arrays, None if they are equal."""
    if expected.shape != got.shape:
        raise ValueError(f"Shapes to compare must be equal, not {expected.shape} and {got.shape}")
    differ = (expected != got).transpose(0, 2, 3, 1)
    count = int(np.count_nonzero(differ))
    if not count:
        return None
    n, y, x, c = (int(i) for i in np.unravel_index(int(np.argmax(differ)), differ.shape))
    return (n, y, x, c), count


def compare_taps(
    network: Network, expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]
) -> Divergence | Missing | None:
    """The first divergence among the nodes in `got`, each [T, C, H, W] and compared with the same of `expected`."""
    for node in network.nodes:
        if node.name not in got:
            continue
        want, have = expected[node.name], got[node.name]
        found = first_difference(want[: len(have)], have[: len(want)])
        if found is not None:
            (n, y, x, c), count = found
            values = int(want[n, c, y, x]), int(have[n, c, y, x])
            return Divergence(node.name, node.op, n, y, x, c, *values, count)
        if len(have) < len(want):
            return Missing(node.name, node.op, len(have), len(want))
    return None


def compare(network: Network, codes: np.ndarray, result: Result, logits: np.ndarray | None = None) -> Report:
    """Compare everything in `result` with the golden model on input codes uint8 [N, C, H, W].

    logits: golden logits int32 [N, O] where they are already known. Taps are compared for the images they hold;
    without any, the divergence is that of the logits, at the output node.
    """
    if len(codes) != len(result.logits):
        raise ValueError(f"{len(codes)} images were given, but {len(result.logits)} results")
    tapped = max((len(values) for values in result.taps.values()), default=0)
    expected: dict[str, np.ndarray] = {}
    if tapped:
        few, expected = golden.run(network, codes[:tapped], taps=list(result.taps))
    if logits is None:
        logits = few if tapped == len(codes) else golden.run_batches(network, codes)
    labels = golden.labels(logits)
    wrong = np.flatnonzero((logits != result.logits).any(axis=1) | (labels != result.labels))
    divergence = compare_taps(network, expected, result.taps)
    if divergence is None and len(wrong):
        divergence = _at_output(network, logits, labels, result, wrong)
    values = logits.size + labels.size + sum(v.size for name, v in result.taps.items() if name != network.output.name)
    return Report(len(codes), len(wrong), values, wrong, labels, divergence)


def _at_output(
    network: Network, logits: np.ndarray, labels: np.ndarray, result: Result, wrong: np.ndarray
) -> Divergence:
    found = first_difference(logits[..., None, None], result.logits[..., None, None])
    if found is not None:
        (n, y, x, c), count = found
        values = int(logits[n, c]), int(result.logits[n, c])
        return Divergence(network.output.name, network.output.op, n, y, x, c, *values, count)
    n = int(wrong[0])  # the logits are right, the label is not
    return Divergence("label", "argmax", n, 0, 0, 0, int(labels[n]), int(result.labels[n]), len(wrong))
