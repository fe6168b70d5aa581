"""The marked blocks of README.md and docs/*.md: what stands between their marks is made anew from tables.

<!-- table: accuracy -->
...
<!-- end -->
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["ROOT", "PageError", "fill", "pages"]

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- table: ([a-z0-9-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
MARK = re.compile(r"<!-- (?:table|end)\b.*?-->")


class PageError(ValueError):
    """A page with marks that cannot be filled; the message is one line."""


def pages() -> list[Path]:
    """Every page: those at the top, and those of docs/."""
    return sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))


def fill(text: str, tables: Mapping[str, Callable[[], str]], where: str) -> str:
    """`text` of the page `where` with every block made anew. PageError for a table or mark that is wrong."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        if name not in tables:
            raise PageError(f"{where}: there is no table {name!r}, only {', '.join(tables)}")
        if MARK.search(found[2]):
            raise PageError(f"{where}: the block {name!r} has no <!-- end -->")
        return f"<!-- table: {name} -->\n{tables[name]()}\n<!-- end -->"

    filled = BLOCK.sub(block, text)
    left = MARK.search(BLOCK.sub("", text))
    if left:
        raise PageError(f"{where}: {left[0]} stands alone; a block is <!-- table: name -->, lines, <!-- end -->")
    return filled
