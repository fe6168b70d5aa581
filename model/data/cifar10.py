"""CIFAR-10 from its publisher's pickled batches, found or downloaded once.

    $CIFAR10_DIR/cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch     10,000 images each (Krizhevsky 2009)

Unpickling runs what the file says: here it may make arrays, lists, bytes, text and numbers, and nothing else.
"""

import contextlib
import os
import pickle
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.checked import cut, escaped, must_be_file
from popstream.model.data.imagesets import DamageError, DataError
from popstream.model.pickles import look_through

__all__ = ["CIFAR10_CLASSES", "CIFAR10_FOLDER", "find_cifar10", "load_cifar10", "read_batch"]

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"  # as Keras checks it too
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MOST_BATCH = 2**26  # bytes; the published ones have 31 million
MOST_SAID = 500  # characters of an error that a library raised
TIMEOUT = (5, 30)  # seconds to connect, and between two pieces of the archive


def text_as_bytes(text: str, encoding: str) -> bytes:
    """What protocol 2 calls to make bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


class Kind:
    """Stands for an array's type, whose own state NumPy takes without a look: bytes or whole numbers alone."""

    def __init__(self, name: str | bytes, *flags: object):
        self.dtype = np.dtype(KINDS[name if isinstance(name, str) else name.decode()])

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|", b"<", b"|"):
            raise pickle.UnpicklingError(f"numbers in the order {state[1]!r}")


class Stored:
    """Stands for an array: what follows it in the pickle is not given to NumPy unchecked, which might crash."""

    def __init__(self, *of: object):
        self.value = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        self.value = shaped(content, kind, shape, bool(by_columns))


def shaped(content: bytes, kind: Kind, shape: tuple[int, ...], by_columns: bool) -> np.ndarray:
    """The numbers in `content`, which are as many as the shape says; else ValueError."""
    return np.frombuffer(content, kind.dtype).reshape(shape, order="F" if by_columns else "C")


def whole_array(content: bytes, kind: Kind, shape: tuple[int, ...], order: str, axes: None = None) -> Stored:
    """What protocol 5 calls for an array."""
    found = Stored()
    found.value = shaped(content, kind, shape, order == "F")
    return found


KINDS = {name: name for name in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")}
KNOWN: Mapping[str, Callable[..., Any]] = {  # what a batch may call, under the names that NumPy 1 and 2 give it
    "_codecs.encode": text_as_bytes,
    "numpy.ndarray": Stored,
    "numpy.dtype": Kind,
    "numpy.core.multiarray._reconstruct": Stored,
    "numpy._core.multiarray._reconstruct": Stored,
    "numpy.core.numeric._frombuffer": whole_array,
    "numpy._core.numeric._frombuffer": whole_array,
}


class BatchUnpickler(pickle.Unpickler):
    """Makes arrays of numbers and what Python's pickle has without a call; UnpicklingError for anything else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if f"{module}.{name}" not in KNOWN:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which no batch needs")
        return KNOWN[f"{module}.{name}"]


def find_cifar10(folder: Path | None = None) -> Path:
    """The folder of the batches: `folder`, else $CIFAR10_DIR, else data/, else downloaded there once."""
    given = folder or (Path(os.environ["CIFAR10_DIR"]) if os.environ.get("CIFAR10_DIR") else None)
    for root in [given] if given else [Path("data")]:
        for candidate in (root / CIFAR10_FOLDER, root):
            if (candidate / "test_batch").exists():
                return candidate
    if given:
        raise DataError(f"No {CIFAR10_FOLDER}/test_batch in {given}; set CIFAR10_DIR to the folder that holds it")
    return download_cifar10(Path("data"))


def download_cifar10(root: Path) -> Path:
    """Fetch and unpack the published archive into `root`, checked against its SHA-256."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar says that it downloads
    try:
        pooch.retrieve(
            CIFAR10_URL,
            f"sha256:{CIFAR10_SHA256}",
            path=root,
            processor=pooch.Untar(extract_dir="."),
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT),
        )
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            root.rmdir()  # made for nothing, if it is empty
        raise DataError(
            f"CIFAR-10 could not be downloaded ({type(error).__name__}); set CIFAR10_DIR to the folder that holds "
            f"{CIFAR10_FOLDER}"
        ) from error
    return root / CIFAR10_FOLDER


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One pickled batch: images uint8 [N, 3, 32, 32] and labels int64 [N]."""
    if not path.exists():
        raise DataError(f"{path} is missing; the data set has data_batch_1 to data_batch_5 and test_batch")
    must_be_file(path, DamageError)
    try:
        size = path.stat().st_size
        if size > MOST_BATCH:
            raise ValueError(f"{size:,} bytes; at most {MOST_BATCH:,} are read")
        content = path.read_bytes()
        look_through(content)
        batch = BatchUnpickler(BytesIO(content), encoding="bytes").load()
        images, labels = (plain(batch[key], kind) for key, kind in ((b"data", np.uint8), (b"labels", np.int64)))
        images = images.reshape(-1, 3, 32, 32)
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # pickle raises a different type for each kind of damage
        said = cut(escaped(" ".join(str(error).split())), MOST_SAID)
        raise DamageError(f"{path} is damaged ({type(error).__name__}: {said}); fetch it again") from error
    if len(images) != len(labels) or len(images) == 0 or labels.min() < 0 or labels.max() > 9:
        raise DamageError(f"{path} is damaged: {len(images)} images, {len(labels)} labels; fetch it again")
    return images, labels


def plain(value: Any, kind: type) -> np.ndarray:
    """An array of numbers, from one in a pickle or a list of whole numbers."""
    if isinstance(value, Stored):
        return value.value.astype(kind)
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise TypeError("labels must be a list of whole numbers, and data an array")
    return np.array(value, dtype=kind)


def load_cifar10(folder: Path | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """50,000 training images uint8 [N, 3, 32, 32] and their labels int64 [N], and 10,000 of the test set."""
    root = find_cifar10(folder)
    parts = [read_batch(root / f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(values) for values in zip(*parts, strict=True))
    return images, labels, *read_batch(root / "test_batch")
