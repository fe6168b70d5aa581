"""CIFAR-10 from its publisher's pickled batches, found or downloaded once.

    $CIFAR10_DIR/cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch     10,000 images each (Krizhevsky 2009)

Unpickling runs what the file says: here it may make arrays, lists, bytes, text and numbers, and nothing else.
"""

import contextlib
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.data.imagesets import DamageError, DataError

__all__ = ["CIFAR10_CLASSES", "CIFAR10_FOLDER", "find_cifar10", "load_cifar10", "read_batch"]

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"  # as Keras checks it too
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TIMEOUT = (5, 30)  # seconds to connect, and between two pieces of the archive


def text_as_bytes(text: str, encoding: str) -> bytes:
    """What protocol 2 calls to make bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


def empty_array(kind: type, shape: tuple[int, ...], letter: bytes) -> np.ndarray:
    """What is called for an array, whose shape, type and content follow."""
    return np.empty(0, np.uint8)


def whole_array(content: bytes, kind: np.dtype, shape: tuple[int, ...], order: str, axes: None = None) -> np.ndarray:
    """What protocol 5 calls for an array."""
    return np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C")


KNOWN: Mapping[str, Callable[..., Any]] = {  # what a batch may call, under the names that NumPy 1 and 2 give it
    "_codecs.encode": text_as_bytes,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": empty_array,
    "numpy._core.multiarray._reconstruct": empty_array,
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
    try:
        with path.open("rb") as file:
            batch = BatchUnpickler(file, encoding="bytes").load()
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # pickle raises a different type for each kind of damage
        raise DamageError(f"{path} is damaged ({type(error).__name__}: {error}); fetch it again") from error
    if len(images) != len(labels) or len(images) == 0 or labels.min() < 0 or labels.max() > 9:
        raise DamageError(f"{path} is damaged: {len(images)} images, {len(labels)} labels; fetch it again")
    return images, labels


def load_cifar10(folder: Path | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """50,000 training images uint8 [N, 3, 32, 32] and their labels int64 [N], and 10,000 of the test set."""
    root = find_cifar10(folder)
    parts = [read_batch(root / f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(values) for values in zip(*parts, strict=True))
    return images, labels, *read_batch(root / "test_batch")
