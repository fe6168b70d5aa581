"""The host's side of the link: requests, repeats and replies over a serial port.

with open_port("/dev/ttyUSB1", 3_000_000) as port:
    client = Client(port); client.identify(); client.classify(codes)
"""

import contextlib
import errno
import os
import random
import time
from collections.abc import Callable
from typing import Any

from popstream.boards.link.protocol import (
    LONGEST_REPLY,
    MAX_COUNT,
    Decoder,
    Fault,
    Frame,
    Identity,
    Kind,
    ProtocolError,
    Result,
    encode,
)

__all__ = ["Client", "LinkError", "open_port"]

POLL = 0.05  # seconds of a read
PORT_ERRORS: tuple[type[Exception], ...] = (OSError,)
with contextlib.suppress(ImportError):  # there is none on Windows
    import termios

    PORT_ERRORS += (termios.error,)
REPEATABLE = (Fault.CRC, Fault.TIMEOUT)


class LinkError(RuntimeError):
    """The board could not be asked; one line that says why."""


def open_port(name: str, baud: int) -> Any:
    """The serial port `name` (or a URL of pyserial's), for this program alone. LinkError where it cannot be opened."""
    import serial

    try:
        return serial.serial_for_url(name, baudrate=baud, timeout=POLL, write_timeout=10, exclusive=True)
    except (serial.SerialException, ValueError, OSError) as error:
        raise LinkError(f"Port {name} cannot be opened: {reason(name, error)}") from None


def reason(name: str, error: Exception) -> str:
    """Why a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "it is in use by another program; end that first"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission; {rights(name)}"
    if isinstance(error.__context__, PORT_ERRORS) and error.__context__.args[:1] == (errno.ENOTTY,):
        return "it is no serial port; `popstream host ports` lists them"
    said = os.strerror(number) if number else str(error).splitlines()[0]
    return f"{said}; `popstream host ports` lists them"


def rights(name: str) -> str:
    """How to be allowed to open a port: the group to join, where it is a group's."""
    with contextlib.suppress(ImportError, OSError, KeyError):  # there is no grp on Windows
        import grp

        found = os.stat(name)
        if found.st_mode & 0o060 == 0o060:
            group = grp.getgrgid(found.st_gid).gr_name
            return f"it belongs to the group {group}: sudo usermod -aG {group} $USER, then log in again"
    return "ask for the right to read and write it (udev rules)"


class Client:
    """Asks one question at a time and repeats it when it, or the answer, is damaged or lost.

    Parameters
    ----------
    port : with read, write, in_waiting and reset_input_buffer, as pyserial's.
    timeout : seconds for a reply.
    attempts : how often a question is put, at least 1.
    clock : gives the time in seconds.

    Attributes
    ----------
    repeats : questions that had to be repeated so far.
    """

    def __init__(self, port: Any, timeout: float = 5.0, attempts: int = 3, clock: Callable[[], float] = time.monotonic):
        if attempts < 1 or timeout <= 0:
            raise ValueError(f"Attempts must be at least 1 and timeout above 0, not {attempts} and {timeout}")
        self.port, self.timeout, self.attempts, self.clock = port, timeout, attempts, clock
        self.repeats = 0
        self._sequence = random.randrange(256)  # so that another program's replies are not taken for ours
        self._known: Identity | None = None

    def _exchange(self, kind: Kind, payload: bytes) -> Frame | None:
        """The reply with the number of this request; None if there is none in time."""
        self._sequence = (self._sequence + 1) % 256
        self.port.reset_input_buffer()
        self.port.write(encode(Frame(kind, self._sequence, payload)))
        decoder, end = Decoder(LONGEST_REPLY), self.clock() + self.timeout
        while self.clock() < end:
            for frame in decoder.feed(self.port.read(max(1, self.port.in_waiting))):
                if frame.sequence == self._sequence and frame.kind & 0x80:
                    return frame
        return None

    def request(self, kind: Kind, payload: bytes, wanted: Kind) -> bytes:
        """The payload of the reply. LinkError without a good one after all attempts, or if the board refuses."""
        said = "no reply"
        for attempt in range(self.attempts):
            self.repeats += attempt > 0
            try:
                frame = self._exchange(kind, payload)
            except PORT_ERRORS as error:
                raise LinkError(f"The port failed ({type(error).__name__}); is the board still attached?") from None
            if frame is None:
                continue
            if frame.kind == wanted:
                return frame.payload
            if frame.kind != Kind.ERROR or len(frame.payload) != 1 or frame.payload[0] not in list(Fault):
                said = f"a reply of kind {frame.kind:#04x}, not {wanted:#04x}"
                continue
            fault = Fault(frame.payload[0])
            if fault not in REPEATABLE:
                raise LinkError(f"The board refuses: {fault.text}")
            said = fault.text
        times = f"{self.attempts} times" if self.attempts > 1 else "once"
        raise LinkError(f"The board was asked {times}: {said}; check port, baud and bitstream")

    def identify(self) -> Identity:
        """What the board says about itself."""
        try:
            self._known = Identity.unpack(self.request(Kind.IDENTIFY, b"", Kind.IDENTITY))
        except ProtocolError as error:
            raise LinkError(str(error)) from None
        return self._known

    @property
    def identity(self) -> Identity:
        """The board's identity, asked for once."""
        return self._known or self.identify()

    def _result(self, kind: Kind, payload: bytes) -> Result:
        classes = self.identity.classes
        try:
            return Result.unpack(self.request(kind, payload, Kind.RESULT), classes)
        except ProtocolError as error:
            raise LinkError(str(error)) from None

    def classify(self, codes: bytes) -> Result:
        """Codes in the order row, column, channel. ValueError for another number of them, or one out of range."""
        size, bits = self.identity.image_bytes, self.identity.input_bits
        if len(codes) != size or max(codes) >= 1 << bits:
            most = max(codes, default=0)
            raise ValueError(f"An image must be {size} codes below {1 << bits}, not {len(codes)} up to {most}")
        return self._result(Kind.CLASSIFY, codes)

    def selftest(self, count: int) -> Result:
        """The image that was classified last, `count` times back to back."""
        if not 1 <= count <= MAX_COUNT:
            raise ValueError(f"Count must be 1 to {MAX_COUNT}, not {count}")
        return self._result(Kind.SELFTEST, bytes([count]))

    def interval(self, count: int = MAX_COUNT) -> float:
        """Clock cycles an image in steady state, from two self-tests: the filling of the pipeline cancels out.

        LinkError where they are none.
        """
        if not 4 <= count <= MAX_COUNT:
            raise ValueError(f"Count must be 4 to {MAX_COUNT}, not {count}")
        half = count // 2
        more = self.selftest(count).cycles - self.selftest(half).cycles
        if more <= 0:
            raise LinkError(f"The board claims {more:,} cycles for {count - half} images; its bitstream is damaged")
        return more / (count - half)
