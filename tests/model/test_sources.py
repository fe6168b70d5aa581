"""Our files behind a module: all that it imports, however deep, and nothing that it does not."""

from pathlib import Path

import pytest

import popstream
from popstream.model import sources as module
from popstream.model.sources import sources

PACKAGE = Path(popstream.__file__).parent


def behind(name: str) -> set[str]:
    return {str(path.relative_to(PACKAGE)) for path in sources(name)}


def test_the_verilog_rests_on_every_block_and_on_the_manifest():
    rooms = [PACKAGE / "hw" / room for room in ("lib", "unit", "blocks")]
    blocks = {str(path.relative_to(PACKAGE)) for room in rooms for path in room.glob("*.py")}
    others = {"hw/verilog.py", "hw/accelerator.py", "model/manifest/node.py", "__init__.py"}
    assert blocks | others <= behind("popstream.hw.verilog")


def test_what_is_not_imported_is_not_among_them():
    found = behind("popstream.hw.verilog")
    assert not [name for name in found if name.startswith(("boards/", "sim/", "model/training/", "hw/synthesis/"))]


def test_imports_within_functions_count(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").touch()
    (tmp_path / "a" / "top.py").write_text("def f():\n    from a.low import x\n")
    (tmp_path / "a" / "low.py").write_text("import json\nx = 1\n")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "a")
    assert [path.name for path in sources.__wrapped__("a.top")] == ["__init__.py", "low.py", "top.py"]


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match=r"no module 'popstream\.hw\.nothing'"):
        sources("popstream.hw.nothing")
