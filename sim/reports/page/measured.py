"""What was measured of a network, read from the files that the other commands leave in build/<net>/.

Nothing is measured here. A figure that is not there, or is of another state of the network, is None, and `missing`
says which command makes it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from popstream.model.commands import here
from popstream.model.manifest import Network

__all__ = ["Measured", "agreement", "read_json"]


def read_json(path: Path) -> Any:
    """The content of a file; None where there is none. ValueError, in one line, where it is damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); remove it and measure again") from None


class Measured:
    """The figures of one network under `root`; `missing` grows by what was asked for in vain."""

    def __init__(self, network: Network, root: Path):
        self.network, self.folder, self.root = network, root / network.name, root
        self.missing: list[dict[str, str]] = []

    def same(self, content: Any) -> bool:
        """Whether figures are of this very network: its layers and its weights."""
        return isinstance(content, dict) and content.get("network_hash") == self.network.hash

    def get(self, name: str, what: str, keys: Iterable[str]) -> dict[str, Any] | None:
        """build/<net>/<name>.json, if it has all `keys`; else None, and what would make it is noted."""
        content = read_json(self.folder / f"{name}.json")
        if content is None:
            self.miss(name, what, "not measured yet", self.make(name))
        elif not self.same(content):
            self.miss(name, what, "measured on another state of this network", self.make(name))
        elif not set(keys) <= content.keys():
            self.miss(name, what, "measured by another version of popstream", self.make(name))
        else:
            return content
        return None

    def miss(self, name: str, what: str, why: str, command: str) -> None:
        """Note that `what` is not there."""
        self.missing.append(dict(name=name, what=what, why=why, command=command))

    def make(self, target: str, more: str = "") -> str:
        """The command line of a make target for this network."""
        return here(f"make {target} NET={self.network.name}{' ' + more if more else ''}")

    def boards(self) -> dict[str, dict[str, Any]]:
        """bitstream.json of every board that this network is built for, by board; those that failed the clock too."""
        found = {}
        for path in sorted(self.folder.glob("*/bitstream.json")):
            content = read_json(path)
            if self.same(content):
                found[path.parent.name] = content
        return found

    def bench(self, board: str) -> dict[str, Any] | None:
        """The row of `make bench` for this network on a board, or None."""
        rows = read_json(self.root / "bench.json") or []
        ours = [row for row in rows if self.same(row) and row.get("board") == board]
        return ours[0] if ours else None


def agreement(network: Network, sim: Mapping[str, Any] | None, accuracy: Mapping[str, Any] | None) -> list[dict]:
    """What was compared with the golden model: images, values and mismatching images of each comparison."""
    rows: list[dict[str, Any]] = []

    def add(between: str, images: int, values: int, mismatches: int, first: str | None, target: str) -> None:
        rows.append(dict(between=between, images=images, values=values, mismatches=mismatches, first=first, by=target))

    if sim is not None:
        how = f"RTL and golden on {sim['images_from']}: every value of {sim['tap_images']:,} images, all others' logits"
        add(how, sim["images"], sim["values_compared"], sim["mismatches"], sim["divergence"], "sim")
    if accuracy is not None:
        classes, first = len(network.classes), accuracy["first_divergence"]
        images, few = accuracy["images"], accuracy["rtl_images"]
        how = "frozen (torch) and golden (NumPy), every logit"
        add(how, images, images * classes, accuracy["mismatches_frozen_golden"], None, "accuracy")
        if few:
            how = "RTL and golden, every logit"
            add(how, few, few * classes, accuracy["mismatches_golden_rtl"], first, "accuracy")
    return rows
