"""Data sets: the pickled layout of CIFAR-10, damage, and the digits' split."""

import pickle
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from popstream.model import data
from popstream.model.data import cifar10


def write_batches(folder, per_batch=4):
    root = folder / cifar10.CIFAR10_FOLDER
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = {
            b"data": rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8),
            b"labels": [int(v) for v in rng.integers(0, 10, per_batch)],
        }
        (root / name).write_bytes(pickle.dumps(batch, protocol=2))
    return root


def test_batches_are_read_in_order(tmp_path, monkeypatch):
    root = write_batches(tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    source = data.load("cifar10")
    assert source.train_images.shape == (20, 3, 32, 32)
    second = pickle.loads((root / "data_batch_2").read_bytes(), encoding="bytes")
    np.testing.assert_array_equal(source.train_images[4:8].reshape(4, -1), second[b"data"])
    np.testing.assert_array_equal(source.train_labels[4:8], second[b"labels"])


def test_the_folder_itself_may_be_named(tmp_path):
    assert cifar10.find_cifar10(write_batches(tmp_path)) == tmp_path / cifar10.CIFAR10_FOLDER


@pytest.mark.parametrize(("damage", "message"), [
    (lambda p: p.unlink(), "data_batch_3 is missing"),
    (lambda p: p.write_bytes(p.read_bytes()[:100]), "data_batch_3 is damaged"),
    (lambda p: p.write_bytes(b"not a pickle"), "data_batch_3 is damaged"),
    (lambda p: p.write_bytes(b"cno_such_module\nname\n."), "data_batch_3 is damaged [(]UnpicklingError: it would call"),
    (lambda p: (p.unlink(), p.mkdir()), "data_batch_3 cannot be read [(]Is a directory[)]"),
    (lambda p: p.write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]})), "2 images, 1"),
    (lambda p: p.write_bytes(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]})), "is damaged"),
])  # fmt: skip
def test_damage_is_named(tmp_path, damage, message):
    damage(write_batches(tmp_path) / "data_batch_3")
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", tmp_path)


class Harmless:
    """Would leave a mark if a batch could call what it names."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("where", [b"data", b"labels", b"filenames"])
def test_a_batch_cannot_run_code(tmp_path, where):
    path, mark = write_batches(tmp_path) / "test_batch", tmp_path / "mark"
    batch = pickle.loads(path.read_bytes(), encoding="bytes") | {where: Harmless(mark)}
    path.write_bytes(pickle.dumps(batch))
    with pytest.raises(data.DamageError, match=r"test_batch is damaged \(UnpicklingError: it would call pathlib"):
        data.load("cifar10", tmp_path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()


def put(index: int) -> bytes:
    """A pickle that remembers its list at `index`."""
    return b"\x80\x02]r" + index.to_bytes(4, "little") + b"."


@pytest.mark.parametrize(("batch", "message"), [
    (put(300), r"PickleError: it would remember at 300, after 2 steps"),
    (b"\x80\x04\x8e" + (40).to_bytes(8, "little") + b".", "PickleError: it is cut short, or no pickle"),
    (b"\x80\x02cnumpy\nndarray\n(K\x02K\x02tR.", "TypeError"),
    (b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.", "KeyError: 'O8'"),
])  # fmt: skip
def test_a_batch_takes_no_memory_that_it_does_not_fill(tmp_path, batch, message):
    path = write_batches(tmp_path) / "test_batch"
    path.write_bytes(batch)
    with pytest.raises(data.DamageError, match=rf"test_batch is damaged \({message}"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("state", [
    (1, (2, 3072), np.dtype("u1"), False, bytes(10)), (1, (2**40, 0), np.dtype("u1"), False, b""),
    (1, (2,), np.dtype("f8"), False, bytes(16)), (1, (2,), np.dtype("u1"), False, [1, 2]),
])  # fmt: skip
def test_an_array_is_as_large_as_what_it_holds(tmp_path, state):
    path = write_batches(tmp_path) / "test_batch"

    class Forged:
        def __reduce__(self):
            return (*np.zeros(1).__reduce__()[:2], state)

    path.write_bytes(pickle.dumps({b"data": Forged(), b"labels": [1, 2]}))
    with pytest.raises(data.DamageError, match=r"test_batch is damaged[ :]"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path, protocol):
    path = write_batches(tmp_path) / "test_batch"
    batch = pickle.loads(path.read_bytes(), encoding="bytes")
    path.write_bytes(
        pickle.dumps(batch, protocol).replace(b"numpy._core", b"numpy.core" if protocol == 2 else b"numpy._core")
    )
    np.testing.assert_array_equal(cifar10.read_batch(path)[0].reshape(4, -1), batch[b"data"])


def test_a_refused_download_is_told_at_once(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(cifar10, "CIFAR10_URL", f"http://127.0.0.1:{port}/cifar-10-python.tar.gz")  # closed again
    began = time.monotonic()
    with pytest.raises(data.DataError, match=r"could not be downloaded \(ConnectionError\); set CIFAR10_DIR"):
        data.load("cifar10")
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"No cifar-10-batches-py/test_batch in .*set CIFAR10_DIR"):
        data.load("cifar10", tmp_path)


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"must be one of cifar10, digits, svhn, imagenet32, .*, not 'mnist'"):
        data.load("mnist")


def test_digits_are_split_without_overlap():
    source = data.load("digits")
    assert source.train_images.shape == (1437, 1, 8, 8)
    assert source.test_images.shape == (360, 1, 8, 8)
    assert source.train_images.max() == 255
    assert set(np.unique(source.test_labels)) == set(range(10))
    np.testing.assert_array_equal(data.load("digits").test_labels, source.test_labels)


@pytest.mark.parametrize("bits", range(1, 9))
def test_rule_r1_pixel_codes_round_half_up(bits):
    pixels = np.arange(256, dtype=np.uint8)
    levels = 2**bits - 1
    exact = [(2 * levels * int(p) + 255) // 510 for p in pixels]
    np.testing.assert_array_equal(data.quantize_pixels(pixels, bits), exact)
    assert data.quantize_pixels(pixels, bits)[[0, 255]].tolist() == [0, levels]


def test_rule_r1_has_no_tie_at_one_bit():
    assert data.quantize_pixels(np.array([127, 128], np.uint8), 1).tolist() == [0, 1]  # 127/255 < 1/2 < 128/255
