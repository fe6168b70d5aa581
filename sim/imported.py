"""A QONNX file taken in and tried: its own executor beside the golden model, every quantizer's codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from popstream.model.data import DATA_SETS, DataError
from popstream.model.data import load as load_data
from popstream.model.manifest import Network
from popstream.model.qonnx.back import read_back, written_by_us
from popstream.model.qonnx.load import QonnxError, load_model
from popstream.model.qonnx.take import Entry, take
from popstream.sim.executed import Compared, compare_taken, compare_written, totals
from popstream.sim.rtl.images import images_for

__all__ = ["Imported", "import_file", "table"]


@dataclass(frozen=True, eq=False)
class Imported:
    """A network, what each node of its file was taken as, and what the comparison found on how many images of what."""

    network: Network
    rows: list[tuple[str, str]]
    compared: list[Compared]
    images: int
    source: str
    off: float

    @property
    def mismatches(self) -> int:
        return sum(row.mismatches for row in self.compared)

    @property
    def first(self) -> str:
        """The first node with one."""
        return next((row.node for row in self.compared if row.mismatches), "")

    @property
    def why(self) -> str:
        """What to do about mismatches."""
        return "float32 may round there what rationals do not; take scales that are powers of two, and tell us"

    @property
    def summary(self) -> dict[str, Any]:
        """For a file: what was compared; halves are codes rounded from exactly between two."""
        about = {"network": self.network.name, "images": self.images, "source": self.source, "off": self.off}
        return about | {"nodes": len(self.network.nodes)} | totals(self.compared)

    @property
    def sentence(self) -> str:
        """What was compared."""
        values = sum(row.values for row in self.compared)
        logits = "logits are equal" if not self.off else f"logits differ by at most {self.off:.3g} steps, whole biases"
        return (
            f"{self.network.name}: {len(self.network.nodes)} nodes; {self.images} images ({self.source}), {values:,} "
            f"codes and sums beside the file's executor: {self.mismatches:,} differ; {logits}"
        )


def class_names(data: str, count: int) -> list[str] | None:
    """Those of the data set, where it has so many and can be had."""
    try:
        names = load_data(data).classes if data in DATA_SETS else None
    except DataError:
        return None
    return list(names) if names and len(names) == count else None


def import_file(path: Path, name: str, entry: Entry | None, data: str, images: int, seed: int = 0) -> Imported:
    """Read the file and compare; QonnxError, which begins with the path, where it cannot be taken exactly.

    A file that popstream wrote comes back as the network that it was, under `name`.
    """
    model = load_model(path)
    if written_by_us(model):
        kept = read_back(model, str(path))
        network = Network.build(name, kept.data, kept.classes, kept.nodes, kept.accuracy, kept.training)
        chosen = images_for(network, images, seed)
        found = [row for image in chosen.codes[:, None] for row in compare_written(kept, model, image)]
        rows = [(f"{node.op} {node.name!r}", "as popstream wrote it: exact") for node in kept.nodes]
        return Imported(network, rows, found, images, chosen.source, 0.0)
    try:
        taken = take(model, name, entry, data, training={"imported": path.name, "producer": model.producer_name})
    except QonnxError as error:
        raise QonnxError(f"{path}: {error}") from None
    network = taken.network
    labels = class_names(data, network.output.shape[0])
    if labels:
        network = Network.build(name, data, labels, network.nodes, {}, network.training)
    chosen = images_for(network, images, seed)
    return Imported(network, taken.rows, compare_taken(taken, chosen.codes), images, chosen.source, float(taken.off))


def table(found: Imported) -> Table:
    """Every node of the file and what it was taken as."""
    result = Table(title=found.network.name)
    result.add_column("node of the file", no_wrap=True)
    result.add_column("taken as")
    for row in found.rows:
        result.add_row(*row)
    return result
