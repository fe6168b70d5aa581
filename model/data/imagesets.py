"""Data sets in their publishers' own layouts: SVHN's .mat files, and ImageNet-style folders of images.

    $SVHN_DIR/train_32x32.mat, test_32x32.mat           cropped digits, 73,257 and 26,032 (Netzer et al. 2011)
    $IMAGENET_DIR/train/<class>/*.jpg, val/<class>/...  any number of classes, a folder each, the same in both

Images come as uint8 [N, 3, H, W] and labels as int64 [N], like those of model/data/__init__.py.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from popstream.model.checked import must_be_file
from popstream.model.data.mat import arrays
from popstream.model.data.pictures import MOST_PIXELS, PictureError, open_picture
from popstream.model.machine import cores, free_memory

SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
SVHN_CLASSES = [str(n) for n in range(10)]
FOLDERS = ("train", "val")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
IMAGENET_SIZES = (32, 64, 128, 224)
MARGIN = 256 / 224  # the shorter side is brought to this much of the crop


class DataError(RuntimeError):
    """A data set is missing or damaged; the message names the file and what to do."""


class DamageError(DataError):
    """A file of a data set is there and cannot be used."""


def folder_of(folder: Path | None, variable: str, default: str, sample: str) -> Path:
    """`folder`, else that of the environment variable, else `default`; DataError unless it holds `sample`."""
    root = folder or Path(os.environ.get(variable) or default)
    if not (root / sample).exists():
        raise DataError(f"No {sample} in {root}; set {variable} to the folder that holds it")
    return root


def read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One file of SVHN: images uint8 [N, 3, 32, 32] of X [32, 32, 3, N], labels int64 [N] of y, where 10 means 0."""
    if not path.exists():
        raise DataError(f"{path} is missing; the data set has {' and '.join(SVHN_FILES)}")
    must_be_file(path, DamageError)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror})") from error
    try:
        found = arrays(content, ("X", "y"))
        images, labels = found["X"], found["y"].reshape(-1).astype(np.int64)
    except KeyError as error:
        raise DamageError(f"{path} is damaged: it has no {error}; fetch it again") from None
    except ValueError as error:
        raise DamageError(f"{path} is damaged: {error}; fetch it again") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DamageError(f"{path} is damaged: X must be uint8 [32, 32, 3, N], not {images.dtype} {images.shape}")
    if len(labels) != images.shape[3] or not len(labels) or labels.min() < 1 or labels.max() > 10:
        raise DamageError(
            f"{path} is damaged: {images.shape[3]} images, {len(labels)} labels, which must be 1 to 10; fetch it again"
        )
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10


def load_svhn(folder: Path | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the training and of the test set."""
    root = folder_of(folder, "SVHN_DIR", "data/svhn", SVHN_FILES[1])
    return [read_mat(root / name) for name in SVHN_FILES]


def read_image(path: Path, size: int) -> np.ndarray:
    """An image as uint8 [3, size, size]: the shorter side resized to 256/224 of `size`, the centre cut out."""
    from PIL import Image

    try:
        rgb = open_picture(path, "RGB")
    except PictureError as error:
        raise DamageError(f"{error}; fetch it again or remove it") from None
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror})") from None
    scale = size * MARGIN / min(rgb.size)
    width, height = (max(size, round(side * scale)) for side in rgb.size)
    if width * height > MOST_PIXELS:
        raise DamageError(f"{path} is too narrow: of {rgb.width} x {rgb.height} pixels; remove it")
    left, top = (width - size) // 2, (height - size) // 2
    resized = rgb.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def list_images(root: Path, classes: list[str]) -> Iterator[tuple[Path, int]]:
    """The image files of every class with their labels, in order of their names."""
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{root / name} holds no image ({', '.join(SUFFIXES)}); each class needs one")
        for path in found:
            yield path, label


def class_names(root: Path) -> list[str]:
    """The folders in `root`, in order of their names."""
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    if not names:
        raise DataError(f"{root} holds no folder; it needs one for each class")
    return names


def load_folders(size: int, folder: Path | None = None) -> tuple[list[str], list[tuple[np.ndarray, np.ndarray]]]:
    """Class names, and images and labels of train/ and of val/, decoded into memory by all cores.

    DataError where both do not have the same classes or memory does not suffice, DamageError for a broken file.
    """
    root = folder_of(folder, "IMAGENET_DIR", "data/imagenet", FOLDERS[0])
    if not (root / FOLDERS[1]).is_dir():
        raise DataError(f"No {FOLDERS[1]} in {root}; the data set has {' and '.join(FOLDERS)}")
    names, others = (class_names(root / part) for part in FOLDERS)
    if names != others:
        odd = sorted(set(names) ^ set(others))
        raise DataError(f"{root}: train and val must have the same classes, but {odd[0]!r} is in one alone")
    listed = [list(list_images(root / part, names)) for part in FOLDERS]
    train, val = map(len, listed)
    need, free = (2 * train + val) * 3 * size * size, free_memory()  # training pads a copy of its images
    if need > free:
        raise DataError(
            f"{root}: {train + val:,} images of {size} x {size} need {need / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} are free; take a smaller size ({', '.join(f'imagenet{n}' for n in IMAGENET_SIZES)})"
        )
    parts = []
    with ThreadPoolExecutor(cores()) as pool:
        for files in listed:
            images = np.empty((len(files), 3, size, size), np.uint8)
            decoded = pool.map(lambda entry: read_image(entry[0], size), files)
            for index, image in enumerate(decoded):
                images[index] = image
            parts.append((images, np.array([label for _, label in files], np.int64)))
    return names, parts
