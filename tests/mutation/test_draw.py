"""Which faults are planted: drawn by the seed, spread over the files, and none where it cannot matter."""

import ast

import pytest

pytest.importorskip("cosmic_ray")

from popstream.mutation.draw import LEFT_OUT, ROOMS, draw, files, mutants_of, shares, text_of
from popstream.mutation.tree import CHECKOUT

TEXT = '''
from dataclasses import dataclass


@dataclass
class Pair:
    """At most 7 of 2."""

    low: int | None = 0

    def both(self, other: int | None) -> int | None:
        if self.low is None or self.low < 0:
            raise ValueError(f"{other + 1} of {3 * 4}")
        return self.low + sum(a - b for a, b in zip([self.low], [3], strict=True))
'''


def test_every_fault_is_another_program_that_can_be_read():
    for mutant in draw({"a.py": TEXT}, 100, seed=3):
        changed = text_of(mutant, TEXT)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(TEXT))
        assert mutant.before in TEXT
        assert mutant.after == "without it" or mutant.after in changed
        assert str(mutant) == f"a.py:{mutant.start[0]}: {mutant.before} -> {mutant.after}"


def test_places_that_cannot_matter_are_left_out():
    texts = [line.strip() for line in TEXT.splitlines()]
    seen = {texts[start[0] - 1] for start, _ in mutants_of("a.py", TEXT)}
    assert seen == {
        "@dataclass", "low: int | None = 0", "if self.low is None or self.low < 0:",
        "return self.low + sum(a - b for a, b in zip([self.low], [3], strict=True))",
    }  # fmt: skip
    kinds = {m.operator.rpartition("/")[2] for found in mutants_of("a.py", TEXT).values() for m in found}
    assert {"ReplaceBinaryOperator_Add_Sub", "ReplaceComparisonOperator_Lt_LtE", "ReplaceOrWithAnd"} <= kinds
    assert not kinds & {"ReplaceTrueWithFalse", "ReplaceBinaryOperator_Add_Pow", "ReplaceComparisonOperator_Is_Eq"}
    assert not any("BitOr" in kind for kind in kinds)


def test_the_seed_decides():
    texts = {"a.py": TEXT, "b.py": TEXT.replace("low", "least")}
    assert draw(texts, 8, 1) == draw(texts, 8, 1)
    assert draw(texts, 8, 1) != draw(texts, 8, 2)
    alone = [mutant for mutant in draw(texts, 8, 1) if mutant.file == "a.py"]
    assert sorted(alone, key=str) == sorted(draw({"a.py": TEXT}, 4, 1), key=str)  # a file's own do not move


def test_each_file_has_its_share():
    assert shares({"large": 300, "small": 99, "tiny": 3, "least": 8, "none": 0}, 101) == {
        "large": 73, "small": 24, "tiny": 3, "least": 4,
    }  # fmt: skip
    assert sum(shares({"a": 70, "b": 71, "c": 72}, 20).values()) == 20
    assert shares({"a": 5, "b": 5}, 50) == {"a": 5, "b": 5}


def test_the_files_are_those_of_the_rooms():
    found = files(CHECKOUT)
    assert {file.rpartition("/")[0] for file in found} == set(ROOMS)
    assert all((CHECKOUT / file).is_file() for file in LEFT_OUT)
    assert not set(LEFT_OUT) & set(found)
