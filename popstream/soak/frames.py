"""Frames on the host link, good, mutated and random: the RTL answers as the parser's model, byte for byte.

A case is a thousand frames on one line, stored as line.json. What a board says while it is being spoken to decides
what comes next, so the model runs ahead: after the byte that ends a request the line waits for the reply; a few bytes
more, sent into the deaf time, must change nothing.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from popstream.boards.bench.harness import Script, compile_link
from popstream.boards.link.link import HostLink
from popstream.boards.link.parser import Parser
from popstream.boards.link.protocol import SYNC, Decoder, Frame, Kind, Result, encode
from popstream.hw.solver.solve import solve
from popstream.sim import golden
from popstream.sim.golden.drawn import random_network
from popstream.soak.draw import mutate, pick
from popstream.soak.kinds import Kind as CaseKind
from popstream.soak.kinds import WrongError, one_by_one

__all__ = ["FRAMES", "KIND", "link_of"]

FRAMES = 1000
GAP, DEAF = 512, 8  # clocks that end a frame; bytes that are surely over before the shortest reply is
SELFTESTS = (0, 1, 1, 2, 3, 9)
LINKS: Sequence[tuple[int, int]] = ((2, 4), (3, 8), (4, 1))  # image channels, input bits
KNOWN = 64  # images, whose logits are computed once
STEPS = 400  # that the bench is told before its answers are read: those fit into a pipe
FILE = "line.json"


@cache
def link_of(number: int) -> HostLink:
    """A board with the tiniest network, 2 pixels and 2 classes, 4 clocks a bit."""
    channels, bits = LINKS[number]
    network = random_network(
        3, in_channels=channels, height=1, width=2, kernel=1, channels=(1,), strides=(1,), convs_per_block=1,
        shortcut="identity", classes=2, first_bits=(2, bits), act_bits=1, stream_bits=6, last_bits=(2, 1),
    )  # fmt: skip
    return HostLink(network, solve(network, 50), 12e6, 3e6, GAP)


def frame(rng: np.random.Generator, images: Sequence[bytes], bits: int) -> bytes:
    """One request for one of the images: good ones, and every sort of bad ones."""
    sequence = int(rng.integers(256))
    codes = pick(rng, images)
    size = len(codes)
    way = rng.integers(20)
    if way < 8:
        return encode(Frame(Kind.CLASSIFY, sequence, codes))
    if way == 8:
        return encode(Frame(Kind.SELFTEST, sequence, bytes([pick(rng, SELFTESTS)])))
    if way == 9:
        return encode(Frame(Kind.IDENTIFY, sequence))
    if way == 10:  # values out of range, where there are such
        return encode(Frame(Kind.CLASSIFY, sequence, rng.bytes(size)))
    if way == 11:  # another kind or size
        kind = pick(rng, (*Kind, 0, 3, 6, 7, 8, 0x80))
        return encode(Frame(kind, sequence, rng.bytes(int(rng.integers(20)))))
    if way == 12:  # a length that is not that of the payload
        length = pick(rng, (0, size, size + 1, 256 * size, 0x0100, 0xFFFF))
        return SYNC + struct.pack("<BBH", sequence, pick(rng, list(Kind)[:3]), length) + rng.bytes(size)
    if way == 13:
        return bytes(pick(rng, (*SYNC, *SYNC, *Kind, 0, size, *range(256))) for _ in range(rng.integers(1, 40)))
    return mutate(rng, encode(Frame(pick(rng, (Kind.CLASSIFY, Kind.SELFTEST, Kind.IDENTIFY)), sequence, codes)))


def draw(rng: np.random.Generator, place: Path) -> None:
    """[[bytes of a frame, bytes sent while the board answers, what follows: none, gap or reset], ...], in hex."""
    number = int(rng.integers(len(LINKS)))
    bits, images, line = LINKS[number][1], known(number), []
    for _ in range(FRAMES):
        deaf = rng.bytes(int(rng.integers(1, DEAF))) if rng.random() < 0.2 else b""
        after = pick(rng, ("none", "none", "none", "gap")) if rng.random() < 0.99 else "reset"
        line.append([frame(rng, images, bits).hex(), deaf.hex(), after])
    (place / FILE).write_text(json.dumps({"link": number, "line": line}))


def plan(model: Parser, line: list[list[str]]) -> Iterator[tuple[str, bytes, Frame | None]]:
    """What is to be done: ("send", bytes, None), ("gap" or "reset", b"", None), or ("ask", b"", the reply due)."""
    for text, deaf, after in line:
        waiting = b""
        for byte in bytes.fromhex(text):
            waiting += bytes([byte])
            reply = model.feed(byte)
            if reply:
                yield "send", waiting + bytes.fromhex(deaf), None
                yield "ask", b"", reply
                waiting = b""
        if waiting:
            yield "send", waiting, None
        if after == "gap":
            yield "gap", b"", None
            reply = model.gap()
            if reply:
                yield "ask", b"", reply
        elif after == "reset":
            yield "reset", b"", None
            model.reset()
    yield "gap", b"", None
    reply = model.gap()
    yield "ask", b"", reply


def same(got: list[Frame], due: Frame | None, classes: int) -> bool:
    """Whether the reply is the one due; the cycles of a result are the board's own."""
    if due is None or len(got) != 1:
        return due is None and not got
    if due.kind != Kind.RESULT or got[0].kind != Kind.RESULT:
        return got[0] == due
    given, wanted = (Result.unpack(each.payload, classes) for each in (got[0], due))
    return (got[0].sequence, given.label, given.logits) == (due.sequence, wanted.label, wanted.logits)


def known(number: int) -> list[bytes]:
    """The images that most requests hold, as codes in the order row, column, channel."""
    channels, bits = LINKS[number]
    rng = np.random.default_rng(number)
    return [rng.integers(0, 2**bits, 2 * channels, dtype=np.uint8).tobytes() for _ in range(KNOWN)]


@cache
def model_logits(number: int) -> Callable[[np.ndarray], tuple[int, ...]]:
    """The golden model's logits of an image, each computed once."""
    network, found = link_of(number).network, dict[bytes, tuple[int, ...]]()

    def logits(codes: np.ndarray) -> tuple[int, ...]:
        name = codes.tobytes()
        if name not in found:
            found[name] = tuple(golden.run(network, codes[None])[0][0].tolist())
        return found[name]

    return logits


def check(place: Path, root: Path) -> Mapping[str, int]:
    """The line in simulation; every reply is compared with the model's, and found again in pieces."""
    content: dict[str, Any] = json.loads((place / FILE).read_text())
    number, counts, received = content["link"], {"frames": len(content["line"])}, b""
    link = link_of(number)
    steps = plan(Parser(link.identity, model_logits(number)), content["line"])
    with Script(compile_link(link, root, optimize=1), link) as bench:
        while some := list(islice(steps, STEPS)):
            for what, data, _ in some:
                if what == "send":
                    bench.send(data)
                elif what == "gap":
                    bench.wait_gap()
                elif what == "reset":
                    bench.reset()
                    bench.wait(GAP // 4)
                else:
                    bench.ask()
            for due in (due for what, _, due in some if what == "ask"):
                raw = bench.answer()
                got = Decoder().feed(raw)
                received += raw
                if not same(got, due, link.identity.classes):
                    place_of = f"after {sum(counts.values()) - counts['frames']} replies"
                    raise WrongError(f"{place_of} there was due {due}, but there came {got} ({raw.hex()})")
                name = "silence" if due is None else Kind(due.kind).name.lower()
                counts[name] = counts.get(name, 0) + 1
    pieces(received + b"".join(bytes.fromhex(text) for text, _, _ in content["line"]))
    return counts


def pieces(data: bytes) -> None:
    """The host's decoder finds the same frames in pieces as in the whole, whatever the noise."""
    whole, split = Decoder(64), Decoder(64)
    found = whole.feed(data)
    again = [each for at in range(0, len(data), 7) for each in split.feed(data[at : at + 7])]
    if found != again or whole.damaged != split.damaged:
        raise WrongError(f"the decoder finds {len(found)} frames in the whole and {len(again)} in pieces")


KIND = CaseKind(
    "frames", "to the link's RTL, good, mutated and random; every reply is that of its model", draw, one_by_one(check),
    each=FRAMES, batch=25, seconds=300,
)  # fmt: skip
