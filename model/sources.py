"""Which of our own files a module is made of: itself and all that it imports, so that a cache sees a change in any."""

import ast
from functools import cache
from pathlib import Path

import popstream

PACKAGE = Path(popstream.__file__).parent


def located(name: str) -> list[Path]:
    """The files that `import name` runs: the module's, and those of the packages around it; none of others' modules."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    files = [PACKAGE.joinpath(*parts[1:end], "__init__.py") for end in range(1, len(parts) + 1)]
    files.append(PACKAGE.joinpath(*parts[1:]).with_suffix(".py"))
    return [path for path in files if path.is_file()]


def imported(path: Path) -> set[str]:
    """Every name that a file may import, inside functions too: of `from a import b` both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@cache
def sources(module: str) -> tuple[Path, ...]:
    """Our files behind `module` (popstream.hw.verilog), sorted; ValueError where there is no such module."""
    waiting, found = located(module), set[Path]()
    last = module.rpartition(".")[2]
    if not waiting or last not in (waiting[-1].stem, waiting[-1].parent.name):
        raise ValueError(f"There is no module {module!r} of popstream")
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for name in imported(path) for file in located(name)]
    return tuple(sorted(found))
