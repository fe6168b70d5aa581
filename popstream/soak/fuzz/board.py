"""What the host program is told by a board and given by a user: frames in pieces, whole sessions, picture files."""

import contextlib
import io
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from popstream.boards.host import host
from popstream.boards.host.client import Client, LinkError
from popstream.boards.host.host import HostError
from popstream.boards.link.protocol import SYNC, Decoder, Fault, Frame, Identity, Kind, Result, encode
from popstream.model import manifest
from popstream.model.data.imagesets import DamageError
from popstream.model.data.imagesets import read_image as read_of_folder
from popstream.sim.golden.drawn import random_network
from popstream.soak.draw import mutate, pick
from popstream.soak.fuzz.target import Target, attempt, scratch
from popstream.soak.kinds import WrongError

__all__ = ["TARGETS"]

TIMEOUT = 1.0  # seconds of the session's own clock
BABBLE = 2**20  # bytes that a board sends in one answer at most: more than comes within TIMEOUT
BYTE_SECONDS = 10 / 3e6  # at the fastest baud
PIECE = 4095  # bytes that a serial port has at once, at most


def decode(data: bytes) -> str:
    """Bytes in pieces, each behind its size; the frames are those of the whole, and encode to what came."""
    pieces, at = [], 1
    while at < len(data):
        pieces.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    longest = data[0] if data and data[0] < 255 else 65_535
    whole, split = Decoder(longest), Decoder(longest)
    stream = b"".join(pieces)
    found, again = whole.feed(stream), [frame for piece in pieces for frame in split.feed(piece)]
    if found != again or whole.damaged != split.damaged:
        raise WrongError(f"{len(found)} frames in the whole, {len(again)} in pieces")
    if any(encode(frame) not in stream or len(frame.payload) > longest for frame in found):
        raise WrongError("a frame that was never sent")
    return "taken" if found else "refused"


def in_pieces(stream: bytes, size: int) -> bytes:
    """An input of `decode`."""
    cut = [stream[at : at + size] for at in range(0, len(stream), size)]
    return b"\xff" + b"".join(bytes([len(piece)]) + piece for piece in cut)


@cache
def known() -> manifest.Network:
    """The network that the session's user has: for images of the digits."""
    return random_network(
        5, in_channels=1, height=8, width=8, channels=(2,), strides=(2,), convs_per_block=1, shortcut="identity",
        classes=10, first_bits=(1, 4), act_bits=1, stream_bits=6, last_bits=(1, 1), name="tiny",
    )  # fmt: skip


@cache
def known_folder() -> Path:
    """Where it lies."""
    manifest.save(known(), scratch() / "net")
    return scratch() / "net"


def honest() -> Identity:
    """What a board with that network says."""
    digest = bytes.fromhex(known().hash)[:16]
    return Identity(1, 1, 4, 10, (1, 8, 8), 100, 12_000_000, 1_000_000, 8, 0, b"fold", digest, "tiny")


class HostilePort:
    """A serial port whose board answers each request by the next step of a script; see `answer`."""

    def __init__(self, script: bytes):
        self.script = io.BytesIO(script)
        self.waiting = bytearray()
        self.late = 0.0  # seconds that its clock is ahead of the real one

    def clock(self) -> float:
        """Seconds: real ones, so that slow work counts, and those that bytes would have taken on their way."""
        return time.monotonic() + self.late

    @property
    def in_waiting(self) -> int:
        return min(PIECE, len(self.waiting))

    def reset_input_buffer(self) -> None:
        self.waiting.clear()

    def read(self, size: int) -> bytes:
        found = bytes(self.waiting[:size])
        del self.waiting[:size]
        self.late += len(found) * BYTE_SECONDS if found else 0.05
        return found

    def write(self, data: bytes) -> int:
        (asked,) = Decoder().feed(data)
        self.waiting += self.answer(asked)[:BABBLE]
        return len(data)

    def take(self, size: int) -> bytes:
        """Of the script, with zeros behind its end."""
        return self.script.read(size).ljust(size, b"\0")

    def answer(self, asked: Frame) -> bytes:
        """What comes back: a step is a byte and what belongs to it."""
        way, sequence = self.take(1)[0] % 8, asked.sequence
        if way == 0:
            return b""
        if way == 1:  # as it stands
            return self.script.read(self.take(1)[0])
        if way == 2:  # over and over
            piece = self.script.read(self.take(1)[0])
            return (piece or b"\0") * (BABBLE // max(1, len(piece)))
        if way == 3:  # framed, of another number
            sequence = (sequence + self.take(1)[0]) % 256
        if way in (3, 4):
            kind, size = struct.unpack("<BH", self.take(3))
            return encode(Frame(kind, sequence, self.script.read(size)))
        if way == 5:  # an identity with some bytes that differ
            claim = bytearray(honest().pack())
            for _ in range(self.take(1)[0] % 8):
                place, value = self.take(2)
                claim[place % len(claim)] = value
            return encode(Frame(Kind.IDENTITY, sequence, bytes(claim)))
        if way == 6:
            label, cycles, classes = struct.unpack("<BIH", self.take(7))
            logits = struct.unpack(f"<{classes % 1024}i", self.take(4 * (classes % 1024)))
            return encode(Frame(Kind.RESULT, sequence, Result(label, cycles, logits).pack()))
        if self.take(1)[0] % 4 == 0:
            raise OSError(5, "Input/output error")
        return encode(Frame(Kind.ERROR, sequence, self.script.read(1)))


def session(data: bytes) -> str:
    """A verb of `popstream host`, chosen by the first byte, with a board that follows the rest."""
    way, port, printed = data[:1] or b"\0", HostilePort(data[1:]), io.StringIO()
    client = Client(port, TIMEOUT, clock=port.clock)

    def verb() -> None:
        network = host.network_of(client.identity, str(known_folder()) if way[0] & 8 else None, [known_folder()])
        as_json = bool(way[0] & 4)
        if way[0] % 4 == 0:
            host.show(host.describe(client.identity, network), as_json)
        elif way[0] % 4 == 1:
            host.classify_files(client, network, [picture_file()], as_json)
        elif way[0] % 4 == 2:
            host.classify_data(client, network, 2, "digits", as_json)
        else:
            host.self_test(client, 4, as_json)

    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        verdict = attempt(verb, LinkError, HostError)
    if not printed.getvalue().replace("\n", "").isprintable():
        raise WrongError(f"it would command a terminal: {printed.getvalue()[:300]!r}")
    return verdict


@cache
def picture_file() -> Path:
    """A picture of the size that the network takes."""
    Image.fromarray(ramp(8, 8)).save(scratch() / "ramp.png")
    return scratch() / "ramp.png"


def result(label: int, cycles: int, classes: int = 10) -> bytes:
    """A step that gives a result."""
    return b"\6" + struct.pack(f"<BIH{classes}i", label, cycles, classes, *range(classes))


def session_seeds() -> list[bytes]:
    """Every verb with a board that answers well, and boards that do not."""
    good = b"\5\0"
    runs = result(3, 900) * 2 + result(3, 500)
    seeds = [bytes([way]) + good + runs for way in range(16)]
    seeds += [bytes([1]) + step + good + runs for step in (b"\0", b"\1\3abc", b"\7\1\1", b"\7\1\6", b"\7\0")]
    seeds += [b"\1" + b"\5\1" + bytes([place, value]) + runs for place in range(0, 74, 4) for value in (0, 2, 200)]
    seeds += [b"\0\2\6" + SYNC + b"\0\x81\xff\xff", b"\1\3\1\x81\4\0abcd" + good + runs]
    claim = replace(honest(), name="\x1b[2J", network=bytes(16)).pack()
    return [*seeds, b"\0\4\x81" + struct.pack("<H", len(claim)) + claim]


def ramp(height: int, width: int) -> np.ndarray:
    """uint8 [height, width]: a picture that is no data set's."""
    return (np.add.outer(np.arange(height) * 7, np.arange(width) * 5) % 256).astype(np.uint8)


SHAPES = ((1, 8, 8), (3, 32, 32), (3, 5, 9), (1, 1, 65_535), (3, 21_845, 1), (1, 65_535, 1), (2, 4, 4), (3, 1, 1))
PNG = b"\x89PNG\r\n\x1a\n"


def picture(data: bytes) -> str:
    """A file, for a board or of a folder of images; the first byte chooses."""
    way, path = data[0] if data else 0, scratch() / "picture"
    path.write_bytes(checked_png(data[1:]) if way & 16 else data[1:])
    identity = replace(honest(), shape=SHAPES[way % 8])

    def of_board() -> None:
        pixels, _ = host.read_image(path, identity)
        if pixels.shape != identity.shape or pixels.dtype != np.uint8:
            raise WrongError(f"pixels {pixels.dtype} {pixels.shape} of {identity.shape}")

    if way & 8:
        return attempt(lambda: read_of_folder(path, 32), DamageError)
    return attempt(of_board, HostError)


def checked_png(data: bytes) -> bytes:
    """A PNG with the CRC that each of its chunks has, so that what is in them is read."""
    changed, at = bytearray(data), len(PNG)
    while data.startswith(PNG) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        changed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def picture_seeds() -> Sequence[bytes]:
    """Small pictures of every format and mode that Pillow writes, some upright only by their EXIF."""
    grey = Image.fromarray(ramp(9, 12))
    turned = Image.Exif()
    turned[0x0112] = 6
    found = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"):
        with contextlib.suppress(ValueError):
            image = grey.convert(mode) if mode != "I;16" else Image.fromarray(ramp(9, 12).astype(np.uint16) * 257)
            for form in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "TGA", "ICO", "JPEG2000", "PCX", "SGI"):
                file = io.BytesIO()
                with contextlib.suppress(OSError, KeyError, ValueError):
                    image.save(file, form, **({"exif": turned} if form in ("PNG", "JPEG", "TIFF") else {}))
                    found.append(file.getvalue())
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        file = io.BytesIO()
        with contextlib.suppress(OSError):
            grey.save(file, "TIFF", compression=compression)
            found.append(file.getvalue())
    return [bytes([number % 32]) + content for number, content in enumerate(found)]


def mutate_frames(rng: np.random.Generator, data: bytes) -> bytes:
    """A good frame more, or what `mutate` does."""
    if rng.random() < 0.5:
        return mutate(rng, data)
    frame = encode(Frame(pick(rng, (*Kind, 0, 7)), int(rng.integers(256)), rng.bytes(int(rng.integers(12)))))
    at = int(rng.integers(len(data) + 1))
    return data[:at] + bytes([len(frame)]) + frame + data[at:]


def decoder_seeds() -> list[bytes]:
    """Frames of every kind, whole and in pieces."""
    frames = [Frame(Kind.IDENTITY, 1, honest().pack()), Frame(Kind.RESULT, 2, Result(1, 99, (1, -1)).pack())]
    frames += [Frame(Kind.ERROR, 3, bytes([fault])) for fault in Fault]
    stream = b"".join(encode(frame) for frame in frames)
    return [in_pieces(stream, size) for size in (1, 3, 64, 255)]


TARGETS = {
    "decoder": Target("bytes of a link in pieces", decoder_seeds, decode, mutate_frames, most=4096),
    "session": Target("all that a board says", session_seeds, session, most=8192),
    "pictures": Target("picture files", picture_seeds, picture, mutate),
}
