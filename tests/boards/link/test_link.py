# amaranth: UnusedElaboratable=no
"""The link under Verilator: good requests, every kind of damage, and 10,000 mutated frames."""

import random
import struct

import pytest

from popstream.boards.link.protocol import (
    MAX_PAYLOAD,
    SYNC,
    Decoder,
    Fault,
    Frame,
    Identity,
    Kind,
    Result,
    crc32,
    encode,
)
from popstream.boards.link.replies import folding_hash
from popstream.hw.folding.folding import interval, serial
from popstream.sim import golden
from tests.boards.link_bench import CLASSES, classify, images_and_logits, payload, start, tiny_link

FUZZ_FRAMES = 10_000
SEED = 20


@pytest.fixture(scope="module")
def link():
    return tiny_link()


@pytest.fixture(scope="module")
def running(link):
    with start(link) as script:
        yield script


@pytest.fixture
def bench(running):
    running.reset()
    running.wait(100)
    running.raw_reply()
    return running


@pytest.fixture(scope="module")
def known(link):
    images, logits = images_and_logits(link, 16)
    assert len(set(golden.labels(logits))) > 1
    return images, logits


def only(frames, kind, sequence):
    """The payload of the one frame, which must be of this kind and number."""
    assert [(frame.kind, frame.sequence) for frame in frames] == [(kind, sequence)]
    return frames[0].payload


def check(frames, sequence, logits):
    """Exactly one result, with these logits."""
    result = Result.unpack(only(frames, Kind.RESULT, sequence), CLASSES)
    assert result.logits == tuple(logits)
    assert result.label == golden.labels(logits[None])[0]
    return result


def refused(frames, fault, sequence):
    assert only(frames, Kind.ERROR, sequence) == bytes([fault])


def test_images_get_golden_logits(bench, known):
    images, logits = known
    cycles = set()
    for index in range(len(images)):
        bench.send(classify(index, images[index]))
        cycles.add(check(bench.reply(), index, logits[index]).cycles)
    assert len(cycles) == 1
    assert cycles.pop() > 100


def test_several_channels_are_gathered_into_pixels():
    link = tiny_link(channels=3)
    images, logits = images_and_logits(link, 4)
    with start(link) as bench:
        for index in range(len(images)):
            bench.send(classify(index, images[index]))
            check(bench.reply(), index, logits[index])
        bench.send(encode(Frame(Kind.SELFTEST, 9, b"\x05")))
        check(bench.reply(), 9, logits[-1])


def test_identity_says_what_is_inside(bench, link):
    bench.send(encode(Frame(Kind.IDENTIFY, 200)))
    identity = Identity.unpack(only(bench.reply(), Kind.IDENTITY, 200))
    assert identity.network.hex() == link.network.hash[:32]
    assert identity.shape == (1, 2, 2)
    assert (identity.weight_bits, identity.act_bits, identity.input_bits, identity.classes) == (1, 2, 4, CLASSES)
    assert identity.interval == max(interval(link.network, link.folding).values())
    assert (identity.clock_hz, identity.baud) == (12_000_000, 3_000_000)
    assert identity.folding == folding_hash(link.folding) != folding_hash(serial(link.network))
    folds = list(link.folding.values())
    assert identity.lanes == sum(fold.lanes for fold in folds if fold.arithmetic == "lanes")
    assert identity.multipliers == sum(fold.lanes for fold in folds if fold.arithmetic == "mac")
    assert identity.name == link.network.name


def test_self_test_runs_at_the_interval(bench, link, known):
    images, logits = known
    bench.send(classify(1, images[3]))
    check(bench.reply(), 1, logits[3])
    cycles = {}
    for count in (1, 20, 120, 255):
        bench.send(encode(Frame(Kind.SELFTEST, count, bytes([count]))))
        cycles[count] = check(bench.reply(), count, logits[3]).cycles
    assert (cycles[255] - cycles[120]) / 135 == pytest.approx(link.identity.interval, rel=0.05)
    bench.send(classify(2, images[4]))
    check(bench.reply(), 2, logits[4])


def test_the_cycles_of_an_image_do_not_depend_on_what_was_before(bench, known):
    images, logits = known
    bench.send(classify(1, images[0]))
    first = check(bench.reply(), 1, logits[0]).cycles
    bench.send(encode(Frame(Kind.SELFTEST, 2, b"\x01")))
    assert check(bench.reply(), 2, logits[0]).cycles == first


def test_a_wrong_crc_is_refused_and_the_image_forgotten(bench, known):
    images, logits = known
    bench.send(classify(4, images[0]))
    check(bench.reply(), 4, logits[0])
    bad = bytearray(classify(5, images[1]))
    bad[7] ^= 1
    bench.send(bytes(bad))
    refused(bench.reply(), Fault.CRC, 5)
    bench.send(encode(Frame(Kind.SELFTEST, 6, b"\x01")))
    refused(bench.reply(), Fault.NO_IMAGE, 6)
    bench.send(classify(7, images[1]))
    check(bench.reply(), 7, logits[1])


@pytest.mark.parametrize("byte", range(4))
def test_every_byte_of_the_crc_counts(bench, known, byte):
    bad = bytearray(classify(5, known[0][1]))
    bad[byte - 4] ^= 0x80
    bench.send(bytes(bad))
    refused(bench.reply(), Fault.CRC, 5)


@pytest.mark.parametrize("size", [0, 1, 3, 5, 260, 1028, MAX_PAYLOAD])
def test_an_image_of_the_wrong_size_is_refused(bench, known, size):
    frame = encode(Frame(Kind.CLASSIFY, 5, bytes(size)))
    bench.send(frame[: min(len(frame), 300)])
    refused(bench.reply(), Fault.LENGTH, 5)
    bench.send(classify(6, known[0][2]))
    check(bench.reply(), 6, known[1][2])


@pytest.mark.parametrize("kind", [0, 3, 6, 8, 0x81, 0x82, 0xFF])
def test_an_unknown_request_is_refused(bench, kind):
    bench.send(encode(Frame(kind, 5)))
    refused(bench.reply(), Fault.KIND, 5)


def test_values_out_of_range_are_refused(bench):
    bench.send(encode(Frame(Kind.CLASSIFY, 5, b"\x01\x10\x02\x03")))
    refused(bench.reply(), Fault.VALUE, 5)
    bench.send(encode(Frame(Kind.SELFTEST, 6, b"\x00")))
    refused(bench.reply(), Fault.VALUE, 6)
    bench.send(encode(Frame(Kind.SELFTEST, 7, b"\x01")))
    refused(bench.reply(), Fault.NO_IMAGE, 7)
    bench.send(encode(Frame(Kind.IDENTIFY, 8, b"\x01")))
    refused(bench.reply(), Fault.LENGTH, 8)


def test_a_frame_that_breaks_off_anywhere_is_given_up(bench, known):
    images, logits = known
    frame = classify(5, images[0])
    for size in range(1, len(frame)):
        bench.send(frame[:size])
        bench.wait_gap()
        frames = bench.reply()
        if size >= len(SYNC):
            assert [(frame.kind, frame.payload) for frame in frames] == [(Kind.ERROR, bytes([Fault.TIMEOUT]))]
        else:
            assert frames == []
        bench.send(classify(6, images[1]))
        check(bench.reply(), 6, logits[1])


def test_a_reset_at_any_byte_leaves_it_working(bench, known):
    images, logits = known
    frame = classify(5, images[0])
    for size in range(len(frame) + 1):
        bench.send(frame[:size])
        bench.wait(37 * (size % 5))
        bench.reset()
        bench.wait(100)
        bench.raw_reply()
        bench.send(classify(6, images[1]))
        check(bench.reply(), 6, logits[1])


def test_a_sync_within_the_sync_is_found(bench, known):
    images, logits = known
    bench.send(SYNC[:1] * 3 + b"\x00" + SYNC[:1] + classify(5, images[0]))
    check(bench.reply(), 5, logits[0])


def damaged(rng, sequence, image):
    """(name, steps): steps are bytes to send, clocks to hold the line low (int), or "reset". Never a good request."""
    good = bytearray(classify(sequence, image))
    way = rng.choice(["flip", "cut", "drop", "insert", "length", "size", "kind", "value", "noise", "low", "reset"])
    place = rng.randrange(len(good))
    if way == "flip":
        for _ in range(rng.randint(1, 8)):
            good[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
    elif way == "cut":
        del good[place:]
    elif way == "drop":
        del good[place]
    elif way == "insert":
        good.insert(rng.randrange(2, len(good)), rng.randrange(256))
    elif way == "length":
        body = struct.pack("<BBH", sequence, Kind.CLASSIFY, rng.choice([0, 3, 5, 260, 0x0400])) + payload(image)
        good = bytearray(SYNC + body + crc32(body).to_bytes(4, "little"))
    elif way == "size":
        size = rng.choice([n for n in range(20) if n != len(payload(image))])
        good = bytearray(encode(Frame(Kind.CLASSIFY, sequence, bytes(rng.choices(range(16), k=size)))))
    elif way == "kind":
        good = bytearray(encode(Frame(rng.choice([0, 3, 5, 6, 7, 8, 0x42, 0x82]), sequence, payload(image))))
    elif way == "value":
        codes = bytearray(payload(image))
        codes[rng.randrange(len(codes))] |= 1 << rng.randrange(4, 8)
        good = bytearray(encode(Frame(Kind.CLASSIFY, sequence, bytes(codes))))
    elif way == "noise":
        good = bytearray(rng.choices([*SYNC, *Kind, 0, 4, *range(256)], k=rng.randint(1, 40)))
    elif way == "low":
        return way, [bytes(good[:place]), rng.choice([1, 2, 3, 9, 40, 400]), bytes(good[place + 1 :])]
    elif way == "reset":
        return way, [bytes(good[: place + 1]), "reset", bytes(good[place + 1 :])]
    return way, [bytes(good)]


def test_ten_thousand_mutated_frames(bench, known):
    """No result for any of them but that of an image that came through whole; then a good frame is answered."""
    images, logits = known
    rng = random.Random(SEED)
    results: list[str] = []
    for case in range(FUZZ_FRAMES):
        chosen, following = rng.sample(range(len(images)), 2)
        way, steps = damaged(rng, 1, images[chosen])
        for step in steps:
            if step == "reset":
                bench.reset()
            elif isinstance(step, int):
                bench.low(step)
            else:
                bench.send(step)
        bench.wait_gap()
        bench.wait(1200)  # the reply's time
        bench.send(classify(2, images[following]))
        answer = bench.reply()
        assert answer, (case, way, steps)
        check(answer[-1:], 2, logits[following])
        for frame in answer[:-1]:
            if frame.kind != Kind.ERROR:  # the flips cancelled each other, or a short pulse was filtered
                assert frame == Frame(Kind.RESULT, 1, frame.payload), (case, way, steps)
                assert way in ("flip", "low", "insert", "drop"), (case, steps)
                check([frame], 1, logits[chosen])
                results.append(way)
    assert len(results) < FUZZ_FRAMES // 50, results


def test_an_answer_is_never_cut(bench, known):
    """Bytes that come in while an image is computed or answered change nothing."""
    images, logits = known
    bench.send(classify(5, images[0]) + classify(6, images[1])[:30])
    data = bench.raw_reply()
    check(Decoder().feed(data), 5, logits[0])
