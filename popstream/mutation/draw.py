"""Which faults: one for each of the places that a seed draws, spread over the files as their places are.

Operators and mutated texts are cosmic-ray's. Of its replacements only those near to what stands there are taken (NEAR):
most others end in a TypeError wherever they stand, and would only make the share that is noticed look better. What
cannot matter is left out: annotations, what a `raise` says, `strict=` of a zip, `@abstractmethod`, `@cache`, and `is`
in the place of `==`.
"""

import ast
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Name

__all__ = ["LEFT_OUT", "ROOMS", "Mutant", "MutationError", "draw", "files", "mutants_of", "text_of"]

ROOMS = ("sim/golden", "model/freezing", "model/quantizers", "model/manifest")
LEFT_OUT = {"sim/golden/drawn.py": "it draws networks for tests, and whatever it draws is a good one"}
LEAST = 4  # places of a file, if it has so many
NEAR = {
    "Add": ("Sub", "Mul"), "Sub": ("Add", "Mul"), "Mul": ("Add", "Div", "FloorDiv"), "Div": ("Mul", "FloorDiv"),
    "FloorDiv": ("Div", "Mul", "Mod"), "Mod": ("FloorDiv",), "Pow": ("Mul", "Add"), "RShift": ("LShift", "FloorDiv"),
    "LShift": ("RShift", "Mul"), "BitOr": ("BitAnd", "BitXor"), "BitAnd": ("BitOr", "BitXor"),
    "BitXor": ("BitOr", "BitAnd"), "Is": ("IsNot",), "IsNot": ("Is",), "In": ("NotIn",), "NotIn": ("In",),
    **dict.fromkeys(("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"), ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")),
}  # fmt: skip
HARMLESS = ("abstractmethod", "cache")  # decorators


class MutationError(RuntimeError):
    """Nothing can be tried: no checkout, no such file, or tests that fail without a fault; one line."""


@dataclass(frozen=True)
class Mutant:
    """A fault in `file`, a path in the checkout: `operator` of cosmic-ray, at its `occurrence`-th place in the file.

    start, end: line and column of what is changed. before, after: that line.
    """

    file: str
    operator: str
    occurrence: int
    start: tuple[int, int]
    end: tuple[int, int]
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.start[0]}: {self.before} -> {self.after}"


def files(root: Path) -> list[str]:
    """The files that faults are planted in, as paths in the checkout."""
    found = [str(path.relative_to(root)) for room in ROOMS for path in sorted((root / room).glob("*.py"))]
    return [file for file in found if file not in LEFT_OUT]


@cache
def operators() -> dict[str, Any]:
    """cosmic-ray's operators that are taken, by name."""
    found = {}
    for name in operator_names():
        parts = name.rpartition("Operator_")[2].split("_")
        if len(parts) == 2 and "Operator_" in name and parts[1] not in NEAR.get(parts[0], (parts[1],)):
            continue
        operator = get_operator(name)
        if not operator.arguments():
            found[name] = operator()
    return found


def harmless(node: Any) -> bool:
    """Whether a change at this node of parso's tree cannot matter."""
    if node.type == "decorator":
        return any(isinstance(part, Name) and part.value in HARMLESS for part in ast_nodes(node))
    while node.parent is not None:
        above = node.parent
        if above.type == "raise_stmt" or (above.type == "funcdef" and above.annotation is node):
            return True
        if above.type == "argument" and getattr(above.children[0], "value", None) == "strict":
            return True
        if (above.type, above.children.index(node)) in (("annassign", 1), ("tfpdef", 2)):
            return True
        node = above
    return False


def mutants_of(file: str, text: str) -> dict[tuple[tuple[int, int], tuple[int, int]], list[Mutant]]:
    """All faults of a file that are taken, by the place that they change: its start and end, as lines and columns."""
    nodes = list(ast_nodes(get_ast(text)))
    found: dict[tuple[tuple[int, int], tuple[int, int]], list[Mutant]] = {}
    for name, operator in operators().items():
        places = ((node, place) for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (node, place) in enumerate(places):
            if not harmless(node):
                found.setdefault(place, []).append(Mutant(file, name, occurrence, place[0], place[1], "", ""))
    return found


def text_of(mutant: Mutant, text: str) -> str:
    """The file's text with the fault."""
    changed: str = mutate_code(text, operators()[mutant.operator], mutant.occurrence)
    return changed


def different(text: str, candidates: Sequence[Mutant]) -> Iterator[Mutant]:
    """Those of the candidates that are another program, with the line that shows it."""
    plain = ast.dump(ast.parse(text))
    for mutant in candidates:
        changed = text_of(mutant, text)
        if ast.dump(ast.parse(changed)) == plain:
            continue
        line = mutant.start[0] - 1
        before, after = text.splitlines()[line].strip(), changed.splitlines()[line].strip()
        if mutant.operator.endswith("RemoveDecorator"):
            after = "without it"
        yield Mutant(mutant.file, mutant.operator, mutant.occurrence, mutant.start, mutant.end, before, after)


def shares(places: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` faults each file gets: by its number of places, but at least LEAST, if it has so many."""
    total = sum(places.values())
    exact = {file: max(LEAST, count * number / total) for file, number in places.items()}
    found = {file: min(number, int(exact[file])) for file, number in places.items() if number}
    by_rest = sorted(found, key=lambda file: int(exact[file]) - exact[file])
    for file in by_rest[: max(0, count - sum(found.values()))]:  # the largest remainders
        found[file] += found[file] < places[file]
    return found


def draw(texts: Mapping[str, str], count: int, seed: int) -> list[Mutant]:
    """`count` faults, or more where LEAST makes them, in files given by path, in an order drawn by the seed. A file's
    depend on it alone, on its share and on the seed."""
    places = {file: mutants_of(file, text) for file, text in texts.items()}
    drawn: list[Mutant] = []
    for file, share in shares({file: len(found) for file, found in places.items()}, count).items():
        draws = random.Random(f"{seed} {file}")
        order = sorted(places[file])
        draws.shuffle(order)
        taken = 0
        for place in order:
            if taken == share:
                break
            candidates = list(places[file][place])
            draws.shuffle(candidates)
            for mutant in different(texts[file], candidates):
                drawn.append(mutant)
                taken += 1
                break
    random.Random(seed).shuffle(drawn)
    return drawn
