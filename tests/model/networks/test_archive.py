"""Files of torch are looked through before torch reads them: each size must be the right one."""

import io
import pickle
import zipfile

import pytest
import torch

from popstream.model.networks.stored import CheckpointError, read_stored

CONTENT = {
    "model": {"w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(3), "e": torch.zeros(0),
              "b": torch.ones(2) > 0},
    "log": [{"loss": 1.5}], "rng": torch.zeros(5, dtype=torch.uint8), "shape": torch.Size([1, 2]),
}  # fmt: skip


def saved() -> dict[str, bytes]:
    """The records of a file."""
    file = io.BytesIO()
    torch.save(CONTENT, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items() if isinstance(records, dict) else records:
            archive.writestr(name, content)


def test_what_torch_saves_is_read(tmp_path):
    torch.save(CONTENT, tmp_path / "x.pt")
    for _ in range(2):
        state = read_stored(tmp_path / "x.pt", {"log": list}, "")
        assert all(torch.equal(state["model"][key], value) for key, value in CONTENT["model"].items())
        assert (state["log"], state["shape"]) == (CONTENT["log"], CONTENT["shape"])
        write(tmp_path / "x.pt", saved())


def forged(change) -> dict[str, bytes]:
    """The records, with another table."""
    records = saved()
    return {name: change(data) if name.endswith("data.pkl") else data for name, data in records.items()}


def zeros(count, shape, strides, offset=0):
    """A table with a tensor that says that its record holds `count` values of 4 bytes."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(value, Storage) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"w": Tensor()})
    return {"x/data.pkl": file.getvalue(), "x/version": b"3\n", "x/data/0": bytes(16)}


def test_the_forger_can_write_a_good_one(tmp_path):
    write(tmp_path / "x.pt", zeros(4, (2, 2), (2, 1)))
    assert read_stored(tmp_path / "x.pt", {}, "")["w"].shape == (2, 2)


@pytest.mark.parametrize(("records", "message"), [
    (lambda: zeros(3, (3,), (1,)), r"ArchiveError: record data/0 has 16 bytes, and is to have 12"),
    (lambda: zeros(4, (4, 2), (0, 0)), r"ArchiveError: a tensor of \(4, 2\) values has 4"),
    (lambda: zeros(4, (2, 2), (2, 1), 1), r"ArchiveError: a tensor of \(2, 2\) values has 3"),
    (lambda: zeros(4, (2, -2), (2, 1)), r"ArchiveError: a tensor of \(2, -2\) values has 4"),
    (lambda: forged(lambda table: b"\x80\x02c__builtin__\nbytearray\nK\x05\x85R."),
     r"PickleError: it would call __builtin__\.bytearray"),
    (lambda: forged(lambda table: table[:-30]), "PickleError: it is cut short, or no pickle"),
    (lambda: [*saved().items(), ("y/data.pkl", b"N.")], r"ArchiveError: it has 2 tables data\.pkl"),
    (lambda: {"x": b""}, r"ArchiveError: it has 0 tables data\.pkl"),
])  # fmt: skip
def test_a_forged_one_is_refused(tmp_path, records, message):
    write(tmp_path / "x.pt", records())
    with pytest.raises(
        CheckpointError, match=rf"^{tmp_path}/x\.pt is damaged \({message}.*\); remove it to start again$"
    ):
        read_stored(tmp_path / "x.pt", {}, "")


def test_nothing_is_unpacked(tmp_path):
    write(tmp_path / "x.pt", saved(), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="a record is compressed"):
        read_stored(tmp_path / "x.pt", {}, "")
    torch.save(CONTENT, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="BadZipFile"):
        read_stored(tmp_path / "x.pt", {}, "")
