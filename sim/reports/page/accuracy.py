"""Top-1 of a network, as its manifest and `make accuracy` give it, beside what others publish for the same data set."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from popstream.model.commands import here
from popstream.model.manifest import Network
from popstream.model.published import RESNET20
from popstream.model.sweeping.published import ACCURACY

__all__ = ["Design", "accuracy_figures", "bits_words", "design_rows"]


AUTHORS = "its authors"


class Design(Protocol):
    """A published accelerator (boards.bench.published)."""

    @property
    def design(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def images_per_s(self) -> int | None: ...
    @property
    def top1(self) -> float: ...
    @property
    def lut(self) -> int | None: ...
    @property
    def dsp(self) -> int | None: ...
    @property
    def source(self) -> str | None: ...


def bits_words(weight_bits: float, act_bits: float) -> str:
    """W1A2; "float" where both are floating point."""
    if weight_bits == act_bits == 32:
        return "float"
    return f"W{weight_bits:g}A{'32' if act_bits == 32 else f'{act_bits:g}'}"


def ours(network: Network, bits: str, measured: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Our own rows: of the manifest, and of `make accuracy` where it was run."""
    given, found = network.accuracy, []
    images = given.get("images")
    for key, what in (("top1_float", "before freezing"), ("top1_frozen", "frozen")):
        if given.get(key) is not None:
            found.append((what, given[key], images, "manifest"))
    if measured is not None:
        found.append(("golden model", measured["top1_golden"], measured["images"], here("make accuracy")))
        if measured["top1_rtl"] is not None:
            found.append(("RTL in simulation", measured["top1_rtl"], measured["rtl_images"], here("make accuracy")))
    return [
        dict(what=f"this network, {what}", bits=bits, top1=top1, images=images, source=source, ours=True)
        for what, top1, images, source in found
    ]


def published(network: Network, inner: set[tuple[int, int]], designs: Iterable[Design]) -> list[dict[str, Any]]:
    """Others' rows for CIFAR-10; of the grids of W and A, those points that have the network's own bits."""
    if network.data != "cifar10":
        return []
    rows = [
        (f"ResNet-20, {row.method}", bits_words(row.weight_bits, row.act_bits), row.top1, row.source)
        for row in RESNET20
    ]
    for activation, grid in ACCURACY.items():
        name = {"relu": "ReLU", "mish": "Mish"}[activation]
        rows += [
            (f"ResNet-20, DoReFa, {name}, 50 epochs", bits_words(*bits), grid[bits], "Hao and Li, appendix A")
            for bits in sorted(inner & grid.keys())
        ]
    known = {(row.method, row.top1) for row in RESNET20}
    others = dict.fromkeys((design.design, design.top1, design.source or AUTHORS) for design in designs)
    rows += [(name, "", top1, page) for name, top1, page in others if (name.split()[0], top1) not in known]
    return [
        dict(what=what, bits=bits, top1=top1, images=None, source=source, ours=False)
        for what, bits, top1, source in rows
    ]


def accuracy_figures(
    network: Network, layers: Iterable[Mapping[str, Any]], measured: Mapping[str, Any] | None, designs: Iterable[Design]
) -> dict[str, Any]:
    """The part "accuracy" of report.json: rows from the best down, and the axis that holds them all, in percent."""
    found = list(layers)
    inner = {(layer["weight_bits"], layer["act_bits"]) for layer in (found[1:-1] or found)}
    bits = ", ".join(bits_words(*pair) for pair in sorted(inner))
    rows = ours(network, bits, measured)
    if rows:
        rows += published(network, inner, designs)
    rows.sort(key=lambda row: -row["top1"])
    values = [row["top1"] for row in rows] or [0.0]
    low, high = max(0, int(min(values)) - 1), min(100, int(max(values)) + 2)
    frozen, images = network.accuracy.get("top1_frozen"), network.accuracy.get("images")
    return dict(rows=rows, low=low, high=high, frozen=frozen, images=images)


def design_rows(network: Network, board: Mapping[str, Any] | None, designs: Iterable[Design]) -> list[dict[str, Any]]:
    """Accelerators for CIFAR-10 by images a second, ours among them where a bitstream is built."""
    if network.data != "cifar10":
        return []
    keys = ("design", "device", "images_per_s", "top1", "lut", "dsp", "source")
    rows = [{key: getattr(design, key) for key in keys} | {"ours": False} for design in designs]
    if board is not None:
        rate = board["bench"]["images_per_s"] if board["bench"] else board["images_per_second"]
        trained = None if network.training.get("untrained") else network.accuracy.get("top1_frozen")
        ours = (network.name, f"{board['device']} ({board['board']})", rate, trained, board["lut"], board["dsp"], None)
        rows.append(dict(zip(keys, ours, strict=True)) | {"ours": True})
    return sorted(rows, key=lambda row: -(row["images_per_s"] or 0))
