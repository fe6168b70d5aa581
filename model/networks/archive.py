"""A file of torch, looked through and copied before torch reads it with `weights_only`.

What is handed on holds tensors and plain values alone, nothing compressed, each of the size that the file has of it.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from popstream.model.pickles import look_through

__all__ = ["ArchiveError", "copied"]

MOST = 2**32  # bytes of a file that are read at all
SIZES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip
STORAGES = {f"torch.{name}Storage": size for name, size in SIZES.items()}  # bytes of a value
TENSOR, TABLE = "torch._utils._rebuild_tensor_v2", "collections.OrderedDict"
SIZE = "torch.Size"


class ArchiveError(ValueError):
    """A file that torch's `save` did not write; one line."""


def copied(path: Path) -> BytesIO:
    """The archive at `path`, made anew of what a checkpoint has. ArchiveError, or an error of zipfile or pickle."""
    has = path.stat().st_size
    if has > MOST:
        raise ArchiveError(f"it has {has:,} bytes; at most {MOST:,} are read")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise ArchiveError("two of its records have one name")
        if any(entry.compress_type or entry.compress_size != entry.file_size for entry in entries):
            raise ArchiveError("a record is compressed")
        if sum(entry.file_size for entry in entries) > has:
            raise ArchiveError("its records say that they have more bytes than the file")
        tables = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(tables) != 1:
            raise ArchiveError(f"it has {len(tables)} tables data.pkl")
        root = tables[0].removesuffix("data.pkl")
        sizes = {entry.filename.removeprefix(root): entry.file_size for entry in entries}
        table = archive.read(tables[0])
        look_through(table, {*STORAGES, TENSOR, TABLE, SIZE})
        Looker(table, sizes).load()
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            for name in names:
                inner = name.removeprefix(root)
                if name.startswith(root) and (inner in ("data.pkl", "byteorder", "version") or is_record(inner)):
                    made.writestr(f"archive/{inner}", archive.read(name))
    out.seek(0)
    return out


def is_record(name: str) -> bool:
    """Whether a record holds a tensor's values: data/0, data/1, ..."""
    folder, _, number = name.partition("/")
    return folder == "data" and number.isascii() and number.isdigit()


class Looker(pickle.Unpickler):
    """Reads the table without torch; ArchiveError for a tensor of another size than its record."""

    def __init__(self, table: bytes, sizes: dict[str, int]):
        super().__init__(BytesIO(table))
        self.sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        found: dict[str, Callable[..., Any]] = {TENSOR: tensor, TABLE: OrderedDict, SIZE: tuple}
        return STORAGES.get(f"{module}.{name}") or found[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> int:
        """The number of values in a record."""
        kind, size, key, _, count = pid
        record = f"data/{key}"
        if kind != "storage" or not isinstance(size, int) or type(count) is not int or not is_record(record):
            raise ArchiveError(f"it has a record of kind {kind!r}")
        if self.sizes.get(record) != size * count:
            raise ArchiveError(f"record {record} has {self.sizes.get(record)} bytes, and is to have {size * count}")
        return count


def tensor(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> None:
    """ArchiveError where a tensor is larger than the `count` values of its record."""
    if offset < 0 or min((*shape, *strides), default=0) < 0 or math.prod(shape) > count - offset:
        raise ArchiveError(f"a tensor of {shape} values has {count - offset}")
