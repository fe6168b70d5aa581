# amaranth: UnusedElaboratable=no
"""Brevitas ResNets in small over weight and code bits: every code beside qonnx's executor, on many images; then every
value of every node in RTL, under stalls, in a folding drawn at random.

    python -m tests.examples.brevitas_grid        # build/brevitas.json

What the tests do with two images for a few of these networks. Twenty minutes on a quiet core.
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from popstream.hw.folding.drawn import random_folding
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.model.qonnx.take import Taken
from popstream.sim.executed import Compared, compare_taken, totals
from popstream.soak.networks import check, lay
from tests.examples.small import SIZE, calibrated, taken
from tests.networks import random_images

__all__ = ["compared", "found_in", "networks"]

WEIGHTS = (1, 2, 3, 4, 8)
COMPARED, SIMULATED = 100, 2  # images
INTERVAL = 600  # most cycles an image of the foldings


def networks() -> Iterator[dict[str, Any]]:
    """Options of small.calibrated; dynamo says which exporter writes it."""
    for weights in WEIGHTS:
        for codes in (1, 2, 4, 8) if weights != 2 else range(1, 9):
            yield dict(weight_bits=weights, act_bits=codes)
        yield dict(weight_bits=weights, act_bits=weights % 4 + 2, dynamo=True)
        yield dict(weight_bits=weights, act_bits=3, separate=True)
        yield dict(weight_bits=weights, act_bits=4, powers_of_two=True)
    for codes in (1, 2, 5, 6, 8):
        yield dict(weight_bits=2, act_bits=codes, separate=True)
    yield dict(weight_bits=4, act_bits=1, powers_of_two=True)
    yield dict(weight_bits=4, act_bits=4, separate=True, powers_of_two=True)
    yield dict(weight_bits=3, act_bits=7, powers_of_two=True, rounding="floor")


def found_in(how: dict[str, Any]) -> Taken:
    """The network with these options, by way of its file."""
    how = dict(how)
    dynamo = how.pop("dynamo", False)
    with tempfile.TemporaryDirectory() as folder:
        return taken(calibrated(**how), Path(folder) / "net.onnx", dynamo)


def compared(found: Taken, count: int = COMPARED) -> list[Compared]:
    """Every quantizer of one network, and its logits."""
    images = np.random.default_rng(1).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)
    return compare_taken(found, images)


def simulated(found: list[Network], folder: Path) -> Iterator[int]:
    """How many values of RTL are golden's, for each network; ValueError for the first that is not."""
    places = []
    for number, network in enumerate(found):
        folding, images = random_folding(network, number, INTERVAL), random_images(network.input, number, SIMULATED)
        stalls = 0.3, 0.1 * (number % 8)
        places.append(lay(folder / str(number), network, folding, images, *stalls, hold=7, seed=number + 1))
    for place, verdict in zip(places, check(places, folder / "build"), strict=True):
        if verdict.said is not None:
            raise ValueError(f"network {place.name}: {verdict.said}")
        yield verdict.counts["values"]


def main() -> None:
    """A row for each network."""
    warnings.simplefilter("ignore")
    rows, found = [], []
    for how in networks():
        found.append(found_in(how))
        rows.append(how | totals(compared(found[-1])))
        print(rows[-1], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row, values in zip(rows, simulated([one.network for one in found], Path(folder)), strict=True):
            row["rtl_values"] = values
            print(f"{values:,} values in RTL are equal", flush=True)
    keys = ("quantizers", "values", "halves", "mismatches", "rtl_values")
    sums = {key: sum(row[key] for row in rows) for key in keys}
    write_json(Path("build/brevitas.json"), {"images": COMPARED, "rtl_images": SIMULATED, **sums, "networks": rows})
    print(sums)


if __name__ == "__main__":
    main()
