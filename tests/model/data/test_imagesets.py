"""SVHN's .mat files and ImageNet-style folders: their layouts, and damage named by file."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from popstream.model import data
from popstream.model.data import imagesets


def write_svhn(folder, count=6):
    rng = np.random.default_rng(0)
    for name in imagesets.SVHN_FILES:
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(1, count + 1, dtype=np.uint8)[:, None] + (10 - count)
        savemat(folder / name, {"X": images, "y": labels}, do_compression=True)  # as the published files are
    return folder


def test_svhn_is_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("SVHN_DIR", str(write_svhn(tmp_path)))
    source = data.load("svhn")
    assert source.train_images.shape == source.test_images.shape == (6, 3, 32, 32)
    assert source.train_labels.tolist() == [5, 6, 7, 8, 9, 0]  # the digit 0 is labelled 10
    assert source.classes == [str(n) for n in range(10)]
    raw = imagesets.read_mat(tmp_path / "train_32x32.mat")[0]
    assert raw.flags.c_contiguous
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(raw[2, 1], rng.integers(0, 256, (32, 32, 3, 6), dtype=np.uint8)[:, :, 1, 2])


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def zeroed(path):
    content = bytearray(path.read_bytes())
    content[2000:3000] = bytes(1000)
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda p: p.unlink(), r"train_32x32\.mat is missing; the data set has train_32x32\.mat and test_32x32\.mat"),
    (cut, r"train_32x32\.mat (is damaged|cannot be read)"),
    (lambda p: p.write_bytes(b""), r"train_32x32\.mat (is damaged|cannot be read)"),
    (lambda p: p.write_bytes(b"no mat file" * 20), r"train_32x32\.mat is damaged: no MATLAB 5 file .*fetch it again"),
    (lambda p: (p.unlink(), p.mkdir()), r"train_32x32\.mat cannot be read \(Is a directory\)"),
    (lambda p: savemat(p, {"X": np.zeros((32, 32, 3, 2), np.uint8)}), r"is damaged: it has no 'y'; fetch it again"),
    (lambda p: savemat(p, {"X": np.zeros((32, 32, 3, 2)), "y": [1, 2]}), r"X must be uint8 .*, not float64"),
    (lambda p: savemat(p, {"X": np.zeros((8, 8, 3, 2), np.uint8), "y": [1, 2]}), r"not uint8 \(8, 8, 3, 2\)"),
    (lambda p: savemat(p, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [1]}), "2 images, 1 labels"),
    (lambda p: savemat(p, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [1, 11]}), "must be 1 to 10"),
])  # fmt: skip
def test_damaged_svhn_is_named(tmp_path, damage, message):
    damage(write_svhn(tmp_path) / "train_32x32.mat")
    with pytest.raises(data.DataError, match=message):
        data.load("svhn", tmp_path)


def test_zeros_inside_a_mat_file_are_found(tmp_path):
    zeroed(write_svhn(tmp_path) / "test_32x32.mat")
    with pytest.raises(data.DamageError, match=r"test_32x32\.mat"):
        data.load("svhn", tmp_path)


def test_missing_svhn_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"No test_32x32\.mat in .*; set SVHN_DIR to the folder"):
        data.load("svhn", tmp_path)


def write_folders(root, sizes=((40, 30), (33, 64), (32, 32))):
    for part in imagesets.FOLDERS:
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for index, size in enumerate(sizes):
                colour = (10 * label, 100 + index, 200 if part == "val" else 50)
                mode = "L" if index == 2 else "RGB"
                image = Image.new("RGB", size, colour).convert(mode)
                image.save(root / part / name / f"{index}.png")
    return root


def test_folders_are_read_by_class(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGENET_DIR", str(write_folders(tmp_path)))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    source = data.load("imagenet32")
    assert source.classes == ["cat", "dog"]
    assert source.train_images.shape == source.test_images.shape == (6, 3, 32, 32)
    assert source.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(source.train_images[4], np.broadcast_to([[[10]], [[101]], [[50]]], (3, 32, 32)))
    assert len(np.unique(source.test_images[2])) == 1  # a grey image has three equal channels


@pytest.mark.parametrize("size", [(64, 64), (100, 70), (31, 200)])
def test_the_centre_is_cut_out(tmp_path, size):
    """A bright square of 1/4 of the shorter side in the middle stays in the middle."""
    image = np.zeros((size[1], size[0]), np.uint8)
    half = min(size) // 8
    y, x = size[1] // 2, size[0] // 2
    image[y - half : y + half, x - half : x + half] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    found = imagesets.read_image(tmp_path / "x.png", 64)[0]
    assert found.shape == (64, 64)
    assert found[32, 32] == 255
    assert found[:20].max() < 10
    assert found[:, :20].max() < 10


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[50:] = bytes(len(content) - 50)
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda r: (r / "train/dog/1.png").write_bytes(b"nothing"), r"dog/1\.png is no image that is read here"),
    (lambda r: corrupt(r / "val/cat/0.png"), r"val/cat/0\.png is damaged \(.*fetch it again or remove it"),
    (lambda r: (r / "train/cow").mkdir(), "train and val must have the same classes, but 'cow' is in one alone"),
    (lambda r: [p.unlink() for p in (r / "val/dog").iterdir()], "val/dog holds no image .*; each class needs one"),
    (lambda r: (r / "val").rename(r / "test"), "No val in .*; the data set has train and val"),
    (lambda r: (r / "train").rename(r / "test"), "No train in .*; set IMAGENET_DIR to the folder that holds it"),
])  # fmt: skip
def test_damaged_folders_are_named(tmp_path, damage, message):
    damage(write_folders(tmp_path))
    with pytest.raises(data.DataError, match=message):
        data.load("imagenet64", tmp_path)


def test_too_little_memory_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(imagesets, "free_memory", lambda: 1_000_000)
    with pytest.raises(
        data.DataError, match=r"12 images of 224 x 224 need 0.0 GiB of memory, and 0.0 are free; take a"
    ):
        data.load("imagenet224", write_folders(tmp_path))
    image = 3 * 32 * 32
    monkeypatch.setattr(imagesets, "free_memory", lambda: 18 * image - 1)  # 6, 6 of them twice: training pads a copy
    with pytest.raises(data.DataError, match="12 images of 32 x 32"):
        imagesets.load_folders(32, tmp_path)
    monkeypatch.setattr(imagesets, "free_memory", lambda: 18 * image)
    assert len(imagesets.load_folders(32, tmp_path)[1]) == 2
