"""All that is known of a network on one page: build/<net>/report.html, and the same figures in report.json.

    write_report(network, Path("build"), board="ulx3s-85f", designs=PUBLISHED)

Nothing is measured or made up here: what no command has measured yet is named, with the command. The page holds its
style, drawings and pictures itself, and opens without network. Needs jinja2 and pillow, neither torch nor a board.
"""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from popstream.hw.folding.folding import DEFAULT_INTERVAL, Folding
from popstream.hw.solver.solve import solve
from popstream.model.files import write_json, write_whole
from popstream.model.manifest import Network
from popstream.sim.reports.page import charts, diagram, training
from popstream.sim.reports.page.accuracy import Design, accuracy_figures, design_rows
from popstream.sim.reports.page.design import KINDS, RESOURCES, cost, folding_rows
from popstream.sim.reports.page.hardware import board_figures
from popstream.sim.reports.page.layers import describe
from popstream.sim.reports.page.measured import Measured, agreement
from popstream.sim.reports.page.way import examples

__all__ = ["figures", "page", "write_report"]

SIM = ("images", "images_from", "tap_images", "values_compared", "mismatches", "divergence", "interval_cycles",
       "predicted_interval_cycles", "latency_cycles")  # fmt: skip
ACCURACY = ("images", "rtl_images", "top1_golden", "top1_rtl", "mismatches_frozen_golden", "mismatches_golden_rtl",
            "first_divergence")  # fmt: skip
OCCUPANCY = ("stages", "column_cycles", "result_cycles", "interval_cycles", "busy", "lanes", "images")


def folding_of(network: Network, board: Mapping[str, Any] | None) -> tuple[Folding, str]:
    """The folding that the bitstream has, or the default one; and which of them it is, in words."""
    if board is not None:
        return Folding.from_dict(board["folding"]).check(network), f"the folding of the bitstream for {board['board']}"
    return solve(network, DEFAULT_INTERVAL), f"the default folding, at most {DEFAULT_INTERVAL:,} cycles an image"


def figures(network: Network, root: Path, board: str | None, designs: Iterable[Design]) -> dict[str, Any]:
    """The content of report.json. ValueError for a damaged file of figures, FoldingError for a bitstream's folding."""
    measured, kept = Measured(network, root), list(designs)
    described = describe(network)
    sim = measured.get("sim", "agreement of the RTL with the golden model, cycles an image", SIM)
    accuracy = measured.get("accuracy", "top-1 of golden model and RTL on the test set", ACCURACY)
    occupancy = measured.get("occupancy", "how busy each stage is over time", OCCUPANCY)
    built = board_figures(measured, board)
    folding, source = folding_of(network, built)
    rows = folding_rows(network, folding)
    return {
        "network": described,
        "accuracy": accuracy_figures(network, described["layers"], accuracy, kept),
        "designs": design_rows(network, built, kept),
        "agreement": agreement(network, sim, accuracy),
        "cycles": sim and {key: sim[key] for key in SIM if key.endswith("cycles")},
        "folding": {
            "source": source,
            "interval": max(row["cycles"] for row in rows),
            "lanes": sum(row["lanes"] for row in rows if row["arithmetic"] == "lanes"),
            "multipliers": sum(row["lanes"] for row in rows if row["arithmetic"] == "mac"),
            "rows": rows,
        },
        "cost": cost(network, folding),
        "board": built,
        "occupancy": occupancy and {key: occupancy[key] for key in OCCUPANCY},
        "training": training.record(network),
        "missing": measured.missing,
    }


def source(name: str) -> str:
    """A file of this folder."""
    return resources.files(__package__).joinpath(name).read_text()


def short(number: float) -> str:
    """A large number in three figures: 40.6 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def page(content: Mapping[str, Any], shown: list[dict[str, Any]], sentence: str) -> str:
    """The page of `content` (report.json) and of the images in `shown`, which `sentence` is about."""
    environment = Environment(
        loader=FunctionLoader(source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"n": "{:,}".format, "short": short}
    names, occupancy = {kind: f"k{number}" for number, kind in enumerate(KINDS)}, content["occupancy"]
    wide, wide_width = diagram.wide(content["network"])
    tall, tall_width = diagram.tall(content["network"])
    return environment.get_template("template.html.j2").render(
        **content,
        missing_of={item["name"]: item for item in content["missing"]},
        wide=wide,
        wide_width=wide_width,
        tall=tall,
        tall_width=tall_width,
        kinds=names,
        resources=RESOURCES,
        stacked=charts.stacked,
        over_time=charts.over_time,
        curves=charts.curves,
        in_order=charts.in_order,
        logit_bars=charts.logit_bars,
        of_resource=lambda amounts, name: {kind: amount[name] for kind, amount in amounts.items()},
        largest={name: max(stage["total"][name] for stage in content["cost"]["stages"]) for name in RESOURCES},
        results=[cycle / occupancy["column_cycles"] for cycle in occupancy["result_cycles"]] if occupancy else [],
        steps={"register": "k3", "logic": "k0", "routing": "k2", "setup": "k4"},
        examples=shown,
        examples_sentence=sentence,
        style=Markup(source("style.css")),
        script=Markup(source("theme.js")),
    )


def write_report(
    network: Network, root: Path, board: str | None = None, designs: Iterable[Design] = ()
) -> tuple[dict[str, Any], Path]:
    """Write both files, whole; returns the content of report.json and the page's path.

    root: where the figures lie, as in build/<net>/sim.json. board: of the bitstream, by default the fastest built one.
    designs: published accelerators to be put beside. ValueError as for `figures`.
    """
    content = figures(network, root, board, designs)
    shown, sentence = examples(network)
    text = page(content, shown, sentence)
    folder = root / network.name
    content["examples"] = [{key: image[key] for key in ("index", "label", "given", "logits")} for image in shown]
    write_json(folder / "report.json", content)
    write_whole(folder / "report.html", text.encode())
    return content, folder / "report.html"
