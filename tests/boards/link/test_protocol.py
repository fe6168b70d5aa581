"""Frames: known bytes, damage, and the limits of every field."""

import random
from dataclasses import replace

import pytest

from popstream.boards.link.protocol import SYNC, Decoder, Frame, Identity, Kind, ProtocolError, Result, crc32, encode

IDENTITY = Identity(
    1, 2, 4, 10, (1, 8, 8), 20_000, 24_000_000, 3_000_000, 1_234, 56, b"fold", bytes(range(16)), "digits"
)  # fmt: skip


def test_crc_is_that_of_ethernet():
    assert crc32(b"123456789") == 0xCBF43926


def test_a_frame_has_the_bytes_that_the_format_says():
    body = bytes([7, 0x04, 1, 0, 255])
    assert encode(Frame(Kind.SELFTEST, 7, b"\xff")) == b"\xa5\x5a" + body + crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_frames_are_found_in_pieces_between_noise(piece):
    rng = random.Random(piece)
    frames = [Frame(rng.randrange(256), rng.randrange(256), rng.randbytes(rng.randrange(40))) for _ in range(50)]
    line = b"".join(rng.randbytes(rng.randrange(5)).replace(SYNC[:1], b"") + encode(frame) for frame in frames)
    decoder = Decoder()
    found = [frame for start in range(0, len(line), piece) for frame in decoder.feed(line[start : start + piece])]
    assert found == frames
    assert decoder.damaged == 0


def test_any_flipped_bit_loses_only_its_frame():
    first, second = Frame(Kind.RESULT, 1, b"\x00\x01\x02"), Frame(Kind.ERROR, 2, b"\x01")
    good = encode(first)
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        found = Decoder(64).feed(bytes(bad) + encode(second) + bytes(70))
        assert found == [second], bit


def test_a_false_sync_with_a_long_length_is_skipped():
    frame = Frame(Kind.IDENTITY, 3, b"x")
    decoder = Decoder(longest=10)
    assert decoder.feed(SYNC + b"\x00\x01\xff\xff" + encode(frame)) == [frame]
    assert decoder.damaged == 1


def test_reset_forgets_a_beginning():
    frame = Frame(Kind.IDENTITY, 3, b"x")
    decoder = Decoder()
    assert decoder.feed(encode(frame)[:5]) == []
    decoder.reset()
    assert decoder.feed(encode(frame)[5:]) == []
    assert decoder.feed(encode(frame)) == [frame]


def test_identity_and_result_come_back():
    assert Identity.unpack(IDENTITY.pack()) == IDENTITY
    assert len(IDENTITY.pack()) == 74
    long = replace(IDENTITY, name="a network of a name that is too long")
    assert Identity.unpack(long.pack()).name == "a network of a name that"
    assert IDENTITY.image_bytes == 64
    result = Result(2, 2**32 - 1, (-(2**31), 0, 2**31 - 1))
    assert Result.unpack(result.pack(), 3) == result


def test_payloads_of_another_form_are_refused():
    with pytest.raises(ProtocolError, match="An identity has 74 bytes, not 73"):
        Identity.unpack(IDENTITY.pack()[:-1])
    with pytest.raises(ProtocolError, match="version 9 of the protocol, this program version 2"):
        Identity.unpack(b"\x09" + IDENTITY.pack()[1:])
    with pytest.raises(ProtocolError, match="A result of 2 classes has 13 bytes, not 9"):
        Result.unpack(Result(0, 1, (5,)).pack(), 2)
    with pytest.raises(ProtocolError, match="label must be below 2, not 2"):
        Result.unpack(Result(2, 1, (5, 6)).pack(), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Frame(256, 0), "Kind and sequence must be 0 to 255, not 256 and 0"),
        (lambda: Frame(0, -1), "not 0 and -1"),
        (lambda: Frame(1, 1, bytes(65_536)), "at most 65535 bytes, not 65536"),
        (lambda: Decoder(65_536), "0 to 65535 bytes, not 65536"),
        (lambda: replace(IDENTITY, classes=70_000).pack(), "does not fit the identity"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
