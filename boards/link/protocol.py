"""The host link's frames, in one place: what goes over the UART in both directions.

    sync A5 5A | sequence u8 | kind u8 | length u16 | payload, `length` bytes | CRC-32 u32        (little endian, 8N1)

The CRC is that of Ethernet and zlib (reflected, polynomial 0x04C11DB7), over sequence, kind, length and payload. One
request is answered by one reply that repeats its sequence number; the next request goes out after the reply, or after
`GAP_SECONDS` of silence. The board keeps no state between requests but the image in its buffer, so that a request
whose reply was lost can be repeated.

    request     payload                       reply
    IDENTIFY    none                          IDENTITY: see Identity
    CLASSIFY    codes, u8 each: row, column,  RESULT: label u8, clock cycles u32, logits i32 each
                channel
    SELFTEST    count u8, 1 to 255            RESULT: of the last of `count` runs, back to back, of the image that was
                                              classified last; the cycles are those of all together
    any                                       ERROR: code u8, see Fault
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from popstream.model.checked import escaped

__all__ = [
    "GAP_SECONDS", "LONGEST_REPLY", "MAX_BAUD", "MAX_PAYLOAD", "SYNC", "Decoder", "Fault", "Frame", "Identity", "Kind",
    "ProtocolError", "Result", "crc32", "encode",
]  # fmt: skip

VERSION = 2
SYNC = b"\xa5\x5a"
MAX_BAUD = 3_000_000
MAX_PAYLOAD = 65_535
MAX_COUNT = 255
GAP_SECONDS = 0.05  # a longer pause within a frame ends it
HEADER = struct.Struct("<BBH")
CRC = struct.Struct("<I")
NAME_BYTES = 24
IDENTITY = struct.Struct(f"<4B4H4IH4s16s{NAME_BYTES}s")
RESULT = struct.Struct("<BI")
LOGIT_BYTES = 4
MOST_CLASSES = 256
LONGEST_REPLY = RESULT.size + LOGIT_BYTES * MOST_CLASSES  # bytes of payload; an identity is shorter


class ProtocolError(ValueError):
    """A payload that does not have the form of its kind; one line."""


class Kind(IntEnum):
    """What a frame asks or answers; requests are single bits, replies have the highest bit set."""

    IDENTIFY = 0x01
    CLASSIFY = 0x02
    SELFTEST = 0x04
    IDENTITY = 0x81
    RESULT = 0x82
    ERROR = 0xFF


class Fault(IntEnum):
    """Why a request was refused; nothing of it has reached the accelerator."""

    CRC = 1
    LENGTH = 2
    KIND = 3
    TIMEOUT = 4
    VALUE = 5
    NO_IMAGE = 6

    @property
    def text(self) -> str:
        """For a person."""
        return {
            Fault.CRC: "the frame was damaged on the way (CRC)",
            Fault.LENGTH: "the payload has the wrong size for this network",
            Fault.KIND: "the board does not know this request",
            Fault.TIMEOUT: "the frame broke off",
            Fault.VALUE: "a value in the payload is out of range",
            Fault.NO_IMAGE: "there is no image in the board's buffer; classify one first",
        }[self]


def crc32(data: bytes) -> int:
    """CRC-32 of `data`: register starts at all ones, low bits first, result inverted; of b"123456789" 0xCBF43926."""
    return zlib.crc32(data)


@dataclass(frozen=True)
class Frame:
    """One frame; `kind` may be any byte, since a receiver has to cope with all of them."""

    kind: int
    sequence: int
    payload: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.kind <= 255 or not 0 <= self.sequence <= 255:
            raise ValueError(f"Kind and sequence must be 0 to 255, not {self.kind} and {self.sequence}")
        if len(self.payload) > MAX_PAYLOAD:
            raise ValueError(f"A payload must have at most {MAX_PAYLOAD} bytes, not {len(self.payload)}")


def encode(frame: Frame) -> bytes:
    """The bytes of a frame on the line."""
    body = HEADER.pack(frame.sequence, frame.kind, len(frame.payload)) + frame.payload
    return SYNC + body + CRC.pack(crc32(body))


class Decoder:
    """Finds frames in bytes that arrive in pieces, with noise between and damage within them.

    A frame longer than `longest` bytes of payload or with a wrong CRC is skipped by its first byte and the search goes
    on behind it, so that a sync in noise cannot hide a good frame for good. `damaged` counts them.
    """

    def __init__(self, longest: int = MAX_PAYLOAD):
        if not 0 <= longest <= MAX_PAYLOAD:
            raise ValueError(f"The longest payload must be 0 to {MAX_PAYLOAD} bytes, not {longest}")
        self.longest = longest
        self.damaged = 0
        self._data = bytearray()

    def reset(self) -> None:
        """Forget what is incomplete."""
        self._data.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with `data`."""
        self._data += data
        frames: list[Frame] = []
        while True:
            start = self._data.find(SYNC)
            if start < 0:
                del self._data[: max(0, len(self._data) - (self._data[-1:] == SYNC[:1]))]
                return frames
            del self._data[:start]
            if len(self._data) < len(SYNC) + HEADER.size:
                return frames
            sequence, kind, length = HEADER.unpack_from(self._data, len(SYNC))
            end = len(SYNC) + HEADER.size + length
            if length <= self.longest:
                if len(self._data) < end + CRC.size:
                    return frames
                if CRC.unpack_from(self._data, end)[0] == crc32(bytes(self._data[len(SYNC) : end])):
                    frames.append(Frame(kind, sequence, bytes(self._data[len(SYNC) + HEADER.size : end])))
                    del self._data[: end + CRC.size]
                    continue
            self.damaged += 1
            del self._data[:1]


@dataclass(frozen=True)
class Identity:
    """What a board computes, 74 bytes: version, W, A, input bits u8; classes, channels, height, width u16; interval
    (estimated cycles an image), clock (Hz), baud, one-bit lanes u32; multipliers u16; folding 4 bytes, network 16 bytes
    (beginnings of SHA-256); the network's name, its first NAME_BYTES bytes, filled up with zeros.

    weight_bits and act_bits are those of the hidden layers; a network of several widths gives the largest.
    """

    weight_bits: int
    act_bits: int
    input_bits: int
    classes: int
    shape: tuple[int, int, int]
    interval: int
    clock_hz: int
    baud: int
    lanes: int
    multipliers: int
    folding: bytes
    network: bytes
    name: str

    def pack(self) -> bytes:
        """The payload. ValueError for a field that does not fit."""
        try:
            return IDENTITY.pack(
                VERSION, self.weight_bits, self.act_bits, self.input_bits, self.classes, *self.shape,
                self.interval, self.clock_hz, self.baud, self.lanes, self.multipliers, self.folding, self.network,
                self.name.encode()[:NAME_BYTES],
            )  # fmt: skip
        except struct.error as error:
            raise ValueError(f"A field does not fit the identity ({error}): {self}") from None

    @classmethod
    def unpack(cls, payload: bytes) -> "Identity":
        """Raises ProtocolError for another version or length, or a claim that no board of popstream makes."""
        if payload and payload[0] != VERSION:
            raise ProtocolError(
                f"The board speaks version {payload[0]} of the protocol, this program version {VERSION}"
            )
        if len(payload) != IDENTITY.size:
            raise ProtocolError(f"An identity has {IDENTITY.size} bytes, not {len(payload)}")
        _, weight, act, bits, classes, channels, height, width, *rest = IDENTITY.unpack(payload)
        interval, clock, baud, lanes, multipliers, folding, network, name = rest
        for claim, good in (
            (f"an image of {channels} x {height} x {width}", 0 < channels * height * width <= MAX_PAYLOAD),
            (f"{classes} classes", 1 <= classes <= MOST_CLASSES),
            (f"{bits} bits a pixel", 1 <= bits <= 8),
            (f"a clock of {clock} Hz", clock > 0),
            (f"an interval of {interval} cycles", interval > 0),
        ):
            if not good:
                raise ProtocolError(f"The board claims {claim}; its bitstream is damaged, or not one of popstream")
        shape = channels, height, width
        text = escaped(name.rstrip(b"\0").decode(errors="replace"))  # it is shown on a terminal
        return cls(weight, act, bits, classes, shape, interval, clock, baud, lanes, multipliers, folding, network, text)

    @property
    def image_bytes(self) -> int:
        """Payload of a CLASSIFY."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True)
class Result:
    """label, logits, and the clock cycles from the start of the feed to the (last) result."""

    label: int
    cycles: int
    logits: tuple[int, ...]

    def pack(self) -> bytes:
        """The payload."""
        return RESULT.pack(self.label, self.cycles) + struct.pack(f"<{len(self.logits)}i", *self.logits)

    @classmethod
    def unpack(cls, payload: bytes, classes: int) -> "Result":
        """Raises ProtocolError for another length or a label that is no class."""
        size = RESULT.size + LOGIT_BYTES * classes
        if len(payload) != size:
            raise ProtocolError(f"A result of {classes} classes has {size} bytes, not {len(payload)}")
        label, cycles = RESULT.unpack_from(payload)
        if label >= classes:
            raise ProtocolError(f"The label must be below {classes}, not {label}")
        return cls(label, cycles, struct.unpack_from(f"<{classes}i", payload, RESULT.size))
