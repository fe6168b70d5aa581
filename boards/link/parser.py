"""What a board answers, byte by byte: the model of HostLink, without time and without the accelerator's arithmetic.

    model = Parser(identity, classify)
    for byte in data:
        reply = model.feed(byte)      # a Frame when this byte ends a request, good or bad; else None
    reply = model.gap()               # silence of GAP_SECONDS

While it answers, a board is deaf: what is sent before its reply has left must not be fed. The cycles of a RESULT are
not the model's to know: they are 0.
"""

from collections.abc import Callable, Sequence

import numpy as np

from popstream.boards.link.protocol import HEADER, SYNC, Fault, Frame, Identity, Kind, Result, crc32

__all__ = ["Parser"]

CRC_BYTES = 4


class Parser:
    """The board that says `identity` of itself; `logits` gives them for codes uint8 [C, H, W].

    Attributes
    ----------
    listening : whether a frame has begun, so that silence ends it with a TIMEOUT.
    """

    def __init__(self, identity: Identity, logits: Callable[[np.ndarray], Sequence[int]]):
        self.identity, self.logits = identity, logits
        self._sequence = 0
        self._image = bytearray(identity.image_bytes)  # the buffer, which no reset clears
        self.reset()

    def reset(self) -> None:
        """The board's reset; sequence number and image stay in its memory, but the image does not count any more."""
        self._synced = 0  # bytes of SYNC
        self._body = bytearray()
        self._held = False

    @property
    def listening(self) -> bool:
        return self._synced == len(SYNC)

    def gap(self) -> Frame | None:
        """The reply to silence."""
        return self._answer(Fault.TIMEOUT) if self.listening else None

    def feed(self, byte: int) -> Frame | None:
        """The reply to this byte."""
        if not self.listening:
            expected = SYNC[self._synced]
            self._synced = self._synced + 1 if byte == expected else int(byte == SYNC[0])
            return None
        self._body.append(byte)
        place = len(self._body) - HEADER.size
        if place == 1 - HEADER.size:
            self._sequence = byte
        if place < 0:
            return None
        _, kind, size = HEADER.unpack_from(self._body)
        requests = {Kind.IDENTIFY: 0, Kind.CLASSIFY: self.identity.image_bytes, Kind.SELFTEST: 1}
        if place == 0:
            self._held &= kind != Kind.CLASSIFY
            if kind not in requests:
                return self._answer(Fault.KIND)
            return None if size == requests[Kind(kind)] else self._answer(Fault.LENGTH)
        if kind == Kind.CLASSIFY and place <= size:
            self._image[place - 1] = byte
        return self._end(Kind(kind)) if place == size + CRC_BYTES else None

    def _end(self, kind: Kind) -> Frame:
        body, crc = self._body[:-CRC_BYTES], self._body[-CRC_BYTES:]
        payload = body[HEADER.size :]
        if crc32(bytes(body)).to_bytes(CRC_BYTES, "little") != crc:
            return self._answer(Fault.CRC)
        if kind == Kind.IDENTIFY:
            return self._reply(Kind.IDENTITY, self.identity.pack())
        if max(payload) >= 1 << self.identity.input_bits if kind == Kind.CLASSIFY else not payload[0]:
            return self._answer(Fault.VALUE)
        if kind == Kind.SELFTEST and not self._held:
            return self._answer(Fault.NO_IMAGE)
        self._held = True
        channels, height, width = self.identity.shape
        codes = np.frombuffer(bytes(self._image), np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
        logits = tuple(int(logit) for logit in self.logits(codes))
        return self._reply(Kind.RESULT, Result(logits.index(max(logits)), 0, logits).pack())

    def _answer(self, fault: Fault) -> Frame:
        return self._reply(Kind.ERROR, bytes([fault]))

    def _reply(self, kind: Kind, payload: bytes) -> Frame:
        self._synced = 0
        self._body.clear()
        return Frame(kind, self._sequence, payload)
