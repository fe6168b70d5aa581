"""A board that answers by a list, and a client that asks it."""

from popstream.boards.host.client import Client
from popstream.boards.link.protocol import Decoder, Frame, Identity, Kind, encode

IDENTITY = Identity(1, 2, 4, 3, (1, 2, 2), 100, 12_000_000, 3_000_000, 8, 1, b"fold", bytes(16), "tiny")


class Board:
    """A serial port with a board behind it that answers by a list: bytes, or a function of the request."""

    def __init__(self, *answers):
        self.answers, self.asked, self.waiting = list(answers), [], b""

    @property
    def in_waiting(self):
        return len(self.waiting)

    def reset_input_buffer(self):
        self.waiting = b""

    def write(self, data):
        (frame,) = Decoder().feed(data)
        self.asked.append(frame)
        answer = self.answers.pop(0)
        self.waiting += answer(frame) if callable(answer) else answer

    def read(self, size):
        found, self.waiting = self.waiting[:size], self.waiting[size:]
        return found


def reply(kind, data):
    return lambda request: encode(Frame(kind, request.sequence, data))


def identity(request):
    return reply(Kind.IDENTITY, IDENTITY.pack())(request)


def fault(code):
    return reply(Kind.ERROR, bytes([code]))


def client(*answers, **options):
    return Client(Board(*answers), **{"timeout": 0.05, **options})
