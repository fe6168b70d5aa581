"""How large a shared stage is made: for its own layers, or, to be reloaded, for those of several networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from popstream.hw.folding.fold import FoldingError

__all__ = ["Bounds", "Reload", "Room", "cover"]


KINDS = ("most", "among", "same")


@dataclass(frozen=True)
class Bounds:
    """What a stage has room for, by what it is: numbers up to `most`, choices `among` some, what must be the `same`.

    All of it can stand in a JSON file. grow : what does not fit is no error, but makes its room larger.
    """

    most: dict[str, int] = field(default_factory=dict)
    among: dict[str, Sequence[Any]] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    grow: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {kind: dict(getattr(self, kind)) for kind in KINDS}

    @classmethod
    def from_dict(cls, content: Mapping[str, Mapping[str, Any]]) -> Bounds:
        """What `to_dict` gave, by way of JSON or not."""
        return cls(dict(content["most"]), dict(content["among"]), dict(content["same"]))


@dataclass(frozen=True)
class Reload:
    """What a design is made for of which all that was trained, and the layers of shared stages, can be exchanged.

    shifts : of every requant and pool outside of shared stages, by name, at least its own.
    stages : bounds of each shared stage, in their order.
    """

    shifts: Mapping[str, int]
    stages: Sequence[Bounds] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"shifts": dict(self.shifts), "stages": [stage.to_dict() for stage in self.stages]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Reload:
        """What `to_dict` gave, by way of JSON or not."""
        return cls(dict(content["shifts"]), tuple(map(Bounds.from_dict, content["stages"])))


def cover(needs: Sequence[Bounds]) -> Bounds:
    """Room for all of them. FoldingError where they differ in what must be the same."""
    most: dict[str, int] = {}
    among: dict[str, Sequence[Any]] = {}
    same: dict[str, Any] = {}
    for need in needs:
        for what, number in need.most.items():
            most[what] = max(number, most.get(what, number))
        for what, choices in need.among.items():
            among[what] = sorted({*_hashed(among.get(what, ())), *_hashed(choices)})
        for what, value in need.same.items():
            if same.setdefault(what, value) != value:
                raise FoldingError(
                    f"One shared stage cannot hold all of these networks: {what} is {value!r}, and {same[what]!r} in "
                    f"another; these must be the same"
                )
    return Bounds(most, among, same)


def _hashed(choices: Iterable[Any]) -> Iterable[Any]:
    """JSON makes lists of tuples."""
    return (tuple(choice) if isinstance(choice, list) else choice for choice in choices)


class Room:
    """Gives each number that shapes a stage's hardware: the layers' own, or that of the bounds it is made for.

    Parameters
    ----------
    name : of the stage, for errors.
    bounds : None for a stage of these layers alone, of which `needs` are not kept.

    Attributes
    ----------
    needs : all that was asked for so far, by the layers' own numbers.

    Raises
    ------
    FoldingError : by each method, where the layers' own has no place in the bounds.
    """

    def __init__(self, name: str, bounds: Bounds | None = None) -> None:
        self.name = name
        self.bounds = bounds
        self.needs = Bounds()

    def most(self, what: str, own: int) -> int:
        """A number for which a larger one serves, too."""
        if self.bounds is None:
            return own
        own = int(own)
        self.needs.most[what] = max(own, self.needs.most.get(what, own))
        limit = self.bounds.most.get(what, 0)
        if own > limit:
            if self.bounds.grow:
                return own
            raise self._none(f"{what}: {own:,}, the bitstream has room for {limit:,}")
        return limit

    def any(self, what: str, own: bool) -> bool:
        """Whether there is something that may as well be there without use."""
        return bool(self.most(what, own))

    def among(self, what: str, own: Iterable[Any]) -> list[Any]:
        """Choices, rising, each once."""
        mine = sorted(set(own))
        if self.bounds is None:
            return mine
        self.needs.among[what] = mine
        others = sorted(_hashed(self.bounds.among.get(what, ())))
        if self.bounds.grow:
            return sorted({*mine, *others})
        for choice in mine:
            if choice not in others:
                raise self._none(f"{what}: {choice}, the bitstream has {', '.join(map(str, others)) or 'none'}")
        return others

    def all(self, what: str, own: Iterable[Any]) -> list[Any]:
        """Choices, rising, own and the bounds': whether those serve is for the caller to find out."""
        mine = sorted(set(own))
        if self.bounds is None:
            return mine
        self.needs.among[what] = mine
        return sorted({*_hashed(self.bounds.among.get(what, ())), *(mine if self.bounds.grow else ())})

    def same(self, what: str, own: Any) -> None:
        """What is built in."""
        if self.bounds is None:
            return
        own = list(own) if isinstance(own, tuple) else own
        self.needs.same[what] = own
        if own != self.bounds.same.get(what, own if self.bounds.grow else None):
            raise self._none(f"{what}: {own!r}, the bitstream's is {self.bounds.same.get(what)!r}")

    def _none(self, said: str) -> FoldingError:
        return FoldingError(f"Stage of {self.name!r}: {said}")
