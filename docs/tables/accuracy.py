"""What the trained networks get right, beside published figures, and that hardware and software agree."""

import io
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from docs import records
from docs.tables.markdown import count, measured, percent, table
from popstream.model.manifest import Network, find, load, zoo
from popstream.model.published import FLOAT, RESNET20
from popstream.sim import run as sim_run

__all__ = ["agreement", "beside_published", "cycles", "models", "netlists", "sim_output", "zoo_table"]

Record = dict[str, Any]
BITS = ((1, 1), (1, 2), (2, 2), (4, 4), (FLOAT, FLOAT))
GRIDS = ("grid-", "pure-", "table-", "ends-")  # groups of sweeps that repeat others' tables, at others' schedules
TRIALS = "better-epochs"  # a sweep whose networks are not meant to be good
OLD = " \\*"
OLD_NOTE = "\n\n\\* Of an earlier training than the one in the zoo."


@cache
def network(name: str) -> Network | None:
    """A network of the zoo; None where there is none of that name."""
    return load(find(name)) if name in {path.name for path in zoo()} else None


def old(record: Record) -> str:
    """A mark if the zoo's network of this name is another one than was measured."""
    current = network(record["result"]["network"])
    return OLD if current is None or current.hash != record["result"]["network_hash"] else ""


def noted(text: str) -> str:
    return text + OLD_NOTE if OLD in text else text


def bits_of(name: str) -> tuple[int, int] | None:
    """(W, A) that the name of a network or a run says; None where it says nothing."""
    if found := re.search(r"w(\d)a(\d)", name):
        return int(found[1]), int(found[2])
    return (FLOAT, FLOAT) if "float" in name else None


def epochs_of(name: str) -> str:
    """How long a network of the zoo was trained, all phases together, and from which other one it began."""
    net = network(name)
    phases = net.training.get("recipe", {}).get("phase", ()) if net else ()
    if not phases:
        return ""
    start = Path(phases[0].get("start", ""))  # a network, or the checkpoint of a sweep's run: @/float-seed0/final.pt
    begun = start.parent.name.partition("-seed")[0] if start.suffix == ".pt" else start.name
    return f" ({sum(phase['epochs'] for phase in phases)} epochs{f' from {begun}' if begun else ''})"


def ours() -> dict[tuple[int, int], str]:
    """The best that was measured of ResNet-20 on CIFAR-10 at (W, A), of one or several seeds."""
    found: dict[tuple[int, int], list[tuple[float, str]]] = defaultdict(list)
    for record in records.load("accuracy"):
        result = record["result"]
        bits = bits_of(result["network"])
        if result["network"].startswith("resnet20") and bits:
            top1, told = result["top1_frozen"], old(record) or epochs_of(result["network"])
            found[bits].append((top1, f"**{percent(top1)}**{told}"))
    for record in records.load("runs"):
        if record["result"]["spec"] == TRIALS:
            continue
        points: dict[str, list[Record]] = defaultdict(list)
        for row in record["result"]["runs"]:
            if not row["group"].startswith(GRIDS) and "error" not in row:
                points[row["run"].removesuffix(f"-seed{row['seed']}")].append(row)
        for name, rows in points.items():
            if bits := bits_of(name):
                values = [row["top1_float"] if row["top1_frozen"] is None else row["top1_frozen"] for row in rows]
                spread = f" ± {stdev(values):.2f}, {len(values)} seeds" if len(values) > 1 else ""
                found[bits].append((fmean(values), f"**{fmean(values):.2f} %**{spread} ({rows[0]['epochs']} epochs)"))
    return {bits: max(entries)[1] for bits, entries in found.items()}


def shown_bits(bits: float) -> str:
    return "float" if bits == FLOAT else f"{bits:g}"


def beside_published() -> str:
    """A row for each W and A: ours, and what others publish."""
    mine, rows = ours(), []
    for w, a in BITS:
        published = [entry for entry in RESNET20 if (entry.weight_bits, int(entry.act_bits)) == (w, int(a))]
        if (w, a) == (1, 2):
            published = [entry for entry in RESNET20 if 1 < entry.act_bits <= 2 and entry.weight_bits == 1]
        if (w, a) == (1, 1):
            published = [entry for entry in published if entry.act_bits == 1]
        cells = []
        for entry in published:
            bits = "" if entry.act_bits in (w, a) else f", A = {entry.act_bits:g} on average"
            digits = 1 if round(entry.top1, 1) == entry.top1 else 2
            cells.append(f"[{entry.method}]({entry.source}) {percent(entry.top1, digits)}{bits}")
        rows.append([shown_bits(w), shown_bits(a), mine.get((w, a), "-"), ", ".join(cells)])
    return noted(table(("W", "A", "popstream", "published"), rows))


def zoo_row(record: Record) -> list[str]:
    result = record["result"]
    net = network(result["network"])
    training = net.training if net and not old(record) else {}
    weights = sum(node.tensors["weight"].size for node in net.nodes if "weight" in node.tensors) if net else None
    phases = [phase for phase in training.get("recipe", {}).get("phase", ())]
    rtl = percent(result["top1_rtl"]) + (
        f" ({count(result['rtl_images'])})" if result["rtl_images"] != result["images"] else ""
    )
    return [
        f"`{result['network']}`{old(record)}",
        net.data if net else "-",
        count(weights),
        " + ".join(f"{phase['epochs']} {phase['name']}" for phase in phases) or "-",
        percent(result["top1_float"]),
        percent(result["top1_frozen"]),
        percent(result["top1_golden"]),
        rtl,
        count(result["images"]),
    ]


def zoo_table() -> str:
    """Every network of the zoo that was measured: float, frozen, golden, RTL."""
    found = records.load("accuracy")
    columns = ("network", "data", "weights>", "epochs", "float>", "frozen>", "golden>", "RTL>", "images>")
    return noted(table(columns, map(zoo_row, found))) + "\n\n" + measured(found)


def images_of(result: dict[str, Any]) -> str:
    """How many images, and of what, unless they are of the network's own data set."""
    of = result.get("images_from", "test images")
    return f"{count(result['images'])} {'images' if of.startswith('test images') else of}"


def agreement() -> str:
    """How much of hardware and software was compared, and how much differed."""
    simulated = {record["result"]["network"]: record for record in records.load("sim")}
    rows = []
    for record in records.load("accuracy"):
        result, sim = record["result"], simulated.get(record["result"]["network"])
        wrong = result["mismatches_frozen_golden"] + result["mismatches_golden_rtl"]
        wrong += sim["result"]["mismatches"] if sim else 0
        compared = f"{count(sim['result']['values_compared'])} ({images_of(sim['result'])})" if sim else "-"
        cells = [f"`{result['network']}`{old(record)}", count(result["images"]), count(result["rtl_images"]), compared]
        rows.append([*cells, f"**{wrong}**"])
    columns = (
        "network", "PyTorch = NumPy, images>", "NumPy = RTL, images>", "every layer's every value>", "mismatches>"
    )  # fmt: skip
    return noted(table(columns, rows))


def cycles() -> str:
    """Interval and latency as simulated at the default folding."""
    found, rows = records.load("sim"), []
    for record in found:
        result = record["result"]
        rows.append([
            f"`{result['network']}`{old(record)}", count(result["images"]), count(result["values_compared"]),
            count(result["mismatches"]), count(result["interval_cycles"]), count(result["predicted_interval_cycles"]),
            count(result["latency_cycles"]),
        ])  # fmt: skip
    columns = ("network", "images>", "values compared>", "mismatches>", "cycles an image>", "predicted>", "latency>")
    return noted(table(columns, rows)) + "\n\n" + measured(found)


def models() -> str:
    """What models in the place of adder trees and planes save of a simulation of many images."""
    found, rows = records.load("models"), []
    if not found:
        return "*Not measured yet.*"
    for record in found:
        result = record["result"]
        rates = result["images_per_cpu_second"]
        rows.append([
            f"`{result['network']}`{old(record)}", count(result["interval"]),
            f"{count(result['images'])}, {result['rounds']} times each", f"{rates['blocks']:.2f}",
            f"{rates['models']:.2f}", f"**{result['ratio']:.2f}**", count(result["mismatches"]),
        ])  # fmt: skip
    columns = (
        "network", "cycles an image>", "images", "images/s of a core>", "with models>", "ratio>", "mismatches>",
    )  # fmt: skip
    return noted(table(columns, rows)) + "\n\n" + measured(found)


def netlists() -> str:
    """What was compared of synthesised netlists and of boards' complete tops."""
    found, rows = [*records.load("netlist"), *records.load("board-sim")], []
    for record in found:
        result = record["result"]
        what = f"complete top of {result['board']}" if "board" in result else "netlist after synthesis"
        rows.append([
            f"`{result['network']}`{old(record)}", what, result["device"], count(result["images"]),
            count(result["values"]), count(result["mismatches"]),
        ])  # fmt: skip
    columns = ("network", "what", "device", "images>", "classes and logits compared>", "mismatches>")
    return noted(table(columns, rows)) + "\n\n" + measured(found)


def sim_output() -> str:
    """What `make sim` printed of the network that it takes by default."""
    from rich.console import Console

    found = [r for r in records.load("sim") if r["result"]["network"] == "resnet20-w1a2" and "cycles" in r["result"]]
    if not found:
        return "*Not measured yet.*"
    result = found[0]["result"]
    console = Console(file=io.StringIO(), width=80, no_color=True)
    console.print(sim_run.table(result))
    console.print("Every value is equal." if not result["mismatches"] else f"FAILED at {result['divergence']}.")
    printed = console.file.getvalue().rstrip().split("\n")[1:]  # type: ignore[attr-defined]  # its title
    return "\n".join(["```text", *printed, "```"])
