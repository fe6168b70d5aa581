"""Files that others give: manifests, ROM images, foldings, and what builds leave: bitstream.json, fits."""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from popstream.boards.board.board import BoardError
from popstream.boards.fitting import kept
from popstream.boards.flow.figures import read_figures
from popstream.boards.known import boards
from popstream.hw.folding.drawn import random_folding
from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.folding import Folding
from popstream.model import manifest
from popstream.model.manifest import ManifestError, Network
from popstream.model.rom import image as rom
from popstream.soak import manifests
from popstream.soak.draw import mutate, pick, tiny_network
from popstream.soak.fuzz.target import Target, attempt, parts, scratch
from popstream.soak.images import signed
from popstream.soak.kinds import WrongError

__all__ = ["TARGETS", "mutate_words"]

SEEDS = 12  # networks that manifests and images begin with
DIGEST = re.compile(rb'"sha256": *"[^"]*"')
WORD = re.compile(rb'"[^"\n]*"|[\w.+-]+')
WORDS = (
    b"0", b"1", b"-1", b"2", b"255", b"65535", b"4294967296", b"9223372036854775808", b"1e308", b"nan", b"-inf", b"0.5",
    b"true", b"null", b'""', b'"x"', b'"\\u001b"', b'"\\ud800"', b"[]", b"{}",
    b"[" * 400 + b"]" * 400, b"[" * 960 + b"]" * 960, b"NaN", b'"' + b"x" * 5000 + b'"',
    b"1" * 5000, b"2024-01-01", b'"\\u0000"', b'"../../x.toml"',
)  # fmt: skip


def mutate_words(rng: np.random.Generator, data: bytes) -> bytes:
    """Another value in the place of a word of JSON or TOML, or a piece of the text elsewhere."""
    found = list(WORD.finditer(data))
    if not found or rng.random() < 0.3:
        return mutate(rng, data)
    word = pick(rng, found)
    other = pick(rng, WORDS) if rng.random() < 0.7 else pick(rng, found)[0]
    return data[: word.start()] + other + data[word.end() :]


@cache
def drawn(seed: int) -> Network:
    """A small network."""
    return tiny_network(np.random.default_rng(seed))


def of_manifest(data: bytes) -> str:
    """The JSON and the tensors, of which the digest is made right; what loads can be saved, and is the same then."""
    text, tensors = parts(data)
    folder = scratch() / "manifest"
    folder.mkdir(exist_ok=True)
    digest = f'"sha256": "{hashlib.sha256(tensors).hexdigest()}"'.encode()
    (folder / manifests.JSON).write_bytes(DIGEST.sub(lambda _: digest, text))
    (folder / manifests.TENSORS).write_bytes(tensors)

    def load() -> None:
        network = manifest.load(folder)
        for name in (network.name, network.data, *network.classes):
            if not name.isprintable():
                raise WrongError(f"it would command a terminal: {name[:100]!r}")
        manifest.save(network, scratch() / "again")
        if manifest.load(scratch() / "again").hash != network.hash:
            raise WrongError("saved and loaded again it is another network")

    return attempt(load, ManifestError)


def joined(text: bytes, tensors: bytes) -> bytes:
    """An input of `of_manifest`."""
    return len(text).to_bytes(4, "little") + text + tensors


def manifest_seeds() -> Sequence[bytes]:
    """Networks of every sort."""
    found = []
    for seed in range(SEEDS):
        path = manifest.save(drawn(seed), scratch() / f"seed{seed}")
        found.append(joined(path.read_bytes(), path.with_name(manifests.TENSORS).read_bytes()))
    return found


def mutate_manifest(rng: np.random.Generator, data: bytes) -> bytes:
    """Fields, words or tensors that are other ones."""
    text, tensors = parts(data)
    if rng.random() < 0.4:
        return joined(mutate_words(rng, text), tensors)
    folder = scratch() / "mutated"
    folder.mkdir(exist_ok=True)
    (folder / manifests.JSON).write_bytes(text)
    (folder / manifests.TENSORS).write_bytes(tensors)
    try:
        pick(rng, (manifests.change_json, manifests.change_tensors))(rng, folder)
    except Exception:  # what is there is no manifest any more
        return joined(mutate(rng, text), tensors)
    return joined((folder / manifests.JSON).read_bytes(), (folder / manifests.TENSORS).read_bytes())


def of_rom(data: bytes) -> str:
    """An image, .bin or .mem, with a right CRC or its own; the first bytes choose."""
    choice, network = data[:1] or b"\0", drawn(data[1] % SEEDS if len(data) > 1 else 0)
    path, content = scratch() / ("rom.mem" if choice[0] & 1 else "rom.bin"), data[2:]
    path.write_bytes(signed(content) if choice[0] & 2 and not choice[0] & 1 else content)

    def read() -> None:
        tensors = rom.unpack(rom.read(path), network, str(path))
        for node in network.nodes:
            for key, tensor in node.tensors.items():
                if tensors[node.name][key].shape != tensor.shape or tensors[node.name][key].dtype != tensor.dtype:
                    raise WrongError(f"node {node.name!r}, tensor {key!r} has another shape or type")

    return attempt(read, rom.RomError)


def rom_seeds() -> Sequence[bytes]:
    """Images of networks in several foldings."""
    found = []
    for seed in range(SEEDS):
        network = drawn(seed)
        folding = {name: (fold.simd, fold.pe) for name, fold in random_folding(network, seed).items()}
        for way, name in enumerate(("rom.bin", "rom.mem", "rom.bin")):
            rom.write(rom.pack(network, folding), scratch() / name)
            found.append(bytes([way, seed]) + (scratch() / name).read_bytes())
    return found


def of_folding(data: bytes) -> str:
    """A folding.json, for a network of the first byte's choice."""
    path, network = scratch() / "folding.json", drawn(data[0] % SEEDS if data else 0)
    path.write_bytes(data[1:])
    return attempt(lambda: Folding.load(path, network), FoldingError)


def folding_seeds() -> Sequence[bytes]:
    """Random foldings of each network."""
    found = []
    for seed in range(SEEDS):
        random_folding(drawn(seed), seed).save(scratch() / "folding.json")
        found.append(bytes([seed]) + (scratch() / "folding.json").read_bytes())
    return found


def of_bitstream(data: bytes) -> str:
    """The figures of a build."""
    path = scratch() / "bitstream.json"
    path.write_bytes(data)
    return attempt(lambda: read_figures(path), BoardError)


def bitstream_seeds() -> Sequence[bytes]:
    """What a build notes, more or less."""
    content = {
        "network": "tiny", "network_hash": "0" * 64, "bitstream_sha256": "1" * 64, "design_sha256": "2" * 64, "seed": 3,
        "seeds": {"1": 40.5, "3": 51.0}, "target_mhz": 48.0, "timing_met": True, "untimed_cells": {},
        "folding": {"stem.conv": {"simd": 1, "pe": 2}},
    }  # fmt: skip
    return [json.dumps(content).encode(), b"{}"]


def of_fits(data: bytes) -> str:
    """A fit that was worked out earlier: fit.json and folding.json."""
    answer, folding = parts(data)
    folder = scratch() / "fit"
    folder.mkdir(exist_ok=True)
    (folder / kept.ANSWER).write_bytes(answer)
    (folder / kept.FOLDING).write_bytes(folding)
    board = boards()["icebreaker"]
    return attempt(lambda: kept.read(folder, board, drawn(0)), FoldingError, BoardError)


def fits_seeds() -> Sequence[bytes]:
    """A fit, and that there is none."""
    random_folding(drawn(0), 0).save(scratch() / "folding.json")
    folding = (scratch() / "folding.json").read_bytes()
    return [joined(json.dumps({"roomy": roomy}).encode(), folding) for roomy in (True, False, None)]


TARGETS = {
    "manifest": Target("manifests, their digests right", manifest_seeds, of_manifest, mutate_manifest),
    "rom": Target("ROM images", rom_seeds, of_rom, mutate),
    "folding": Target("folding.json", folding_seeds, of_folding, mutate_words),
    "bitstream": Target("bitstream.json", bitstream_seeds, of_bitstream, mutate_words),
    "fits": Target("kept fits of boards", fits_seeds, of_fits, mutate_words),
}
