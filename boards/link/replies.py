"""What the host link has in its memory besides the image: the constant parts of every reply.

    0        the image, a code a byte
    result   kind, length and 5 + 4 * classes places of the dynamic bytes; aligned, so that the lowest bits of an
             address count them
    error    32-aligned: sync and sequence number, which head every reply; then an ERROR of 4 bytes for each Fault
    identity after the last of them, as if it were fault 7

Bit 8 of a word says that a section ends with it. The sequence number is written when a request comes in.
"""

import hashlib
import json
from dataclasses import dataclass

from popstream.boards.link.protocol import MAX_PAYLOAD, SYNC, Fault, Identity, Kind, Result
from popstream.hw.folding.folding import Folding, interval
from popstream.model.manifest import Network

__all__ = ["LAST", "Memory", "folding_hash", "identity", "layout"]

LAST = 0x100
IDENTITY_CODE = 7
RESULT_CODE = 0
ERROR_SIZE = 4
ERROR_ALIGN = 32


def folding_hash(folding: Folding) -> bytes:
    """Four bytes that tell foldings apart."""
    return hashlib.sha256(json.dumps(folding.to_dict(), sort_keys=True).encode()).digest()[:4]


def identity(network: Network, folding: Folding, clock_hz: float, baud: float) -> Identity:
    """What a board with this accelerator says about itself."""
    layers = [node for node in network.nodes if node.op == "conv"]
    hidden = layers[1:] or layers or [network.output]
    channels, height, width = network.input.shape
    return Identity(
        weight_bits=max(node["weight_bits"] for node in hidden),
        act_bits=max(node["act_bits"] for node in hidden),
        input_bits=network.entry_bits,
        classes=network.output.shape[0],
        shape=(channels, height, width),
        interval=max(interval(network, folding).values()),
        clock_hz=round(clock_hz),
        baud=round(baud),
        lanes=sum(fold.lanes for fold in folding.values() if fold.arithmetic == "lanes"),
        multipliers=sum(fold.lanes for fold in folding.values() if fold.arithmetic == "mac"),
        folding=folding_hash(folding),
        network=bytes.fromhex(network.hash)[:16],
        name=network.name,
    )


def section(kind: Kind, payload: bytes, rest: int = 0) -> list[int]:
    """Words of a reply from its kind on; `rest` bytes of its payload are left 0."""
    data = [kind, *(len(payload) + rest).to_bytes(2, "little"), *payload, *bytes(rest)]
    return [*data[:-1], data[-1] | LAST]


@dataclass(frozen=True)
class Memory:
    """words: the initial content, 9 bits each. size: of the image. region: addresses that the result takes, rounded
    up to a power of two. result, error, sequence: addresses.
    """

    words: tuple[int, ...]
    size: int
    region: int
    result: int
    error: int

    @property
    def sequence(self) -> int:
        """Where the sequence number is written."""
        return self.error + len(SYNC)


def layout(said: Identity) -> Memory:
    """The memory of a board that says this of itself. ValueError for an image that is too large for a frame."""
    if said.image_bytes > MAX_PAYLOAD:
        raise ValueError(f"An image must have at most {MAX_PAYLOAD:,} values for the link, not {said.image_bytes:,}")
    size = said.image_bytes
    length = len(Result(0, 0, (0,) * said.classes).pack())
    region = 1 << (3 + length - 1).bit_length()
    result = -(-size // region) * region
    error = -(-(result + 3 + length) // ERROR_ALIGN) * ERROR_ALIGN
    words = [0] * (error + ERROR_SIZE * IDENTITY_CODE)
    words[result : result + 3 + length] = section(Kind.RESULT, b"", length)
    words[error : error + 3] = [*SYNC, LAST]
    for fault in Fault:
        place = error + ERROR_SIZE * fault
        words[place : place + ERROR_SIZE] = section(Kind.ERROR, bytes([fault]))
    return Memory((*words, *section(Kind.IDENTITY, said.pack())), size, region, result, error)
