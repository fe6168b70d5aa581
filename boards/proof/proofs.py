"""A proof as an entry of the table: the block, what is claimed of it, how it is proven and how deep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from popstream.boards.proof.contract import Bench

__all__ = ["ICE40", "Proof"]


class _Ice40:
    """A platform as far as blocks ask for it."""

    device = "iCE40UP5K"


ICE40 = _Ice40()


@dataclass(frozen=True)
class Proof:
    """One line of the table.

    block : name of the class that is proven.
    what : its parameters, as a reader sees them.
    make : builds the block.
    claims : adds properties to the bench, beside those of the contract, which are always there.
    properties : the names of all of them, in short.
    depth : cycles. Of an induction, how many in a row it looks at; of a bounded proof, all from reset.
    why : how the depth was found.
    induction : whether it holds in every run, however long; else for `depth` cycles from reset.
    cut : (input, output) ports with no path between them within a cycle, beside `ready` from the own `valid` of each
        input stream and `valid` from the own `ready` of each output stream, which are always checked.
    quick : whether `make test` runs it.
    apart : see Bench.
    platform : see Bench.
    """

    block: str
    what: str
    make: Callable[[], Any]
    claims: Callable[[Bench], None]
    properties: str
    depth: int
    why: str
    induction: bool = False
    cut: tuple[tuple[str, str], ...] = ()
    quick: bool = False
    apart: tuple[str, ...] = ()
    platform: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What it is called: also its folder's name, less what folders' names lack."""
        return f"{self.block}, {self.what}" if self.what else self.block

    @property
    def folder(self) -> str:
        """Name of its folder below build/prove."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).lower().split())

    @property
    def method(self) -> str:
        return "induction" if self.induction else "bounded"

    def bench(self) -> Bench:
        """The bench with all properties."""
        bench = Bench(self.make(), self.depth, self.platform, self.apart)
        self.claims(bench)
        return bench

    def promises(self, bench: Bench) -> list[tuple[str, str]]:
        """Pairs (input, output) without a path within a cycle."""
        own = [(f"{name}_valid", f"{name}_ready") for name in bench.inputs]
        own += [(f"{name}_ready", f"{name}_{what}") for name in bench.outputs for what in ("valid", "payload")]
        return [pair for pair in own if pair[0] in {signal.name for signal in bench.free.values()}] + list(self.cut)
