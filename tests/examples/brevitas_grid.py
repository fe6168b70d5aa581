"""Brevitas ResNets in small over weight and code bits: every code beside qonnx's executor, on many images.

    python -m tests.examples.brevitas_grid        # build/brevitas.json

What the tests do with two images for a few of these networks. Ten minutes on a quiet core.
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.files import write_json
from popstream.sim.executed import Compared, compare_taken, totals
from tests.examples.small import SIZE, calibrated, taken

__all__ = ["compared", "networks"]

WEIGHTS = (1, 2, 3, 4, 8)
IMAGES = 100


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


def compared(how: dict[str, Any], count: int = IMAGES) -> list[Compared]:
    """Every quantizer of one network, and its logits."""
    how = dict(how)
    dynamo = how.pop("dynamo", False)
    with tempfile.TemporaryDirectory() as folder:
        found = taken(calibrated(**how), Path(folder) / "net.onnx", dynamo)
    images = np.random.default_rng(1).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)
    return compare_taken(found, images)


def main() -> None:
    """A row for each network."""
    warnings.simplefilter("ignore")
    rows = []
    for how in networks():
        rows.append(how | totals(compared(how)))
        print(rows[-1], flush=True)
    sums = {key: sum(row[key] for row in rows) for key in ("quantizers", "values", "halves", "mismatches")}
    write_json(Path("build/brevitas.json"), {"images": IMAGES, **sums, "networks": rows})
    print(sums)


if __name__ == "__main__":
    main()
